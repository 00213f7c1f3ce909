#include "metarm/eval/win_rates.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/eval/quantile.h"

namespace metarm {

namespace {

using Shares = std::array<double, 4>;  // win, tie, lose, win - lose

Shares shares_of(const std::vector<Outcome>& outcomes) {
  Shares shares{};
  for (const Outcome outcome : outcomes) ++shares[static_cast<std::size_t>(outcome)];
  for (double& share : shares) share /= static_cast<double>(outcomes.size());
  shares[3] = shares[0] - shares[2];
  return shares;
}

Shares mean_of_draw(const std::vector<Shares>& prompts, RandomStream stream) {
  Shares sum{};
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const Shares& drawn = prompts[stream.below(prompts.size())];
    for (std::size_t each = 0; each < sum.size(); ++each) sum[each] += drawn[each];
  }
  for (double& share : sum) share /= static_cast<double>(prompts.size());
  return sum;
}

std::string percent_with_interval(const Share& share) {
  return fmt::format("{:.1f} [{:.1f}, {:.1f}]", 100 * share.value, 100 * share.interval.low, 100 * share.interval.high);
}

}  // namespace

const char* outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::win: return "win";
    case Outcome::tie: return "tie";
    case Outcome::lose: return "lose";
  }
  return "?";
}

WinRates win_rates(std::span<const std::vector<Outcome>> by_prompt, std::uint64_t seed, std::int64_t resamples) {
  WinRates rates;
  rates.prompts = static_cast<std::int64_t>(by_prompt.size());
  if (by_prompt.empty()) return rates;
  std::vector<Shares> prompts;
  for (const std::vector<Outcome>& outcomes : by_prompt) {
    if (outcomes.empty()) fail_internal("win_rates: expected a comparison for each prompt");
    rates.comparisons += static_cast<std::int64_t>(outcomes.size());
    prompts.push_back(shares_of(outcomes));
  }
  std::array<std::vector<double>, 4> draws;
  for (std::int64_t i = 0; i < resamples; ++i) {
    const Shares mean = mean_of_draw(prompts, RandomStream(seed, "bootstrap", static_cast<std::uint64_t>(i)));
    for (std::size_t each = 0; each < mean.size(); ++each) draws[each].push_back(mean[each]);
  }
  std::size_t each = 0;
  for (Share* share : {&rates.win, &rates.tie, &rates.lose, &rates.net}) {
    for (const Shares& of_prompt : prompts) share->value += of_prompt[each];
    share->value /= static_cast<double>(prompts.size());
    std::ranges::sort(draws[each]);
    share->interval = {quantile(draws[each], 0.025), quantile(draws[each], 0.975)};
    ++each;
  }
  return rates;
}

std::array<int, 3> whole_percents(const WinRates& rates) {
  const std::array<double, 3> exact = {100 * rates.win.value, 100 * rates.tie.value, 100 * rates.lose.value};
  std::array<int, 3> whole{};
  std::array<std::size_t, 3> order = {0, 1, 2};
  int left = 100;
  for (std::size_t i = 0; i < 3; ++i) left -= whole[i] = static_cast<int>(std::floor(exact[i] + 1e-9));
  std::ranges::stable_sort(order, std::ranges::greater{}, [&](std::size_t i) { return exact[i] - whole[i]; });
  for (int i = 0; i < left; ++i) ++whole[order[static_cast<std::size_t>(i)]];
  return whole;
}

Json to_json(const WinRates& rates) {
  Json json = {{"prompts", rates.prompts}, {"comparisons", rates.comparisons}};
  for (const auto& [name, share] :
       {std::pair("win", &rates.win), std::pair("tie", &rates.tie), std::pair("lose", &rates.lose), std::pair("net", &rates.net)}) {
    json[name] = share->value;
    json[fmt::format("{}_low", name)] = share->interval.low;
    json[fmt::format("{}_high", name)] = share->interval.high;
  }
  return json;
}

std::string to_table(const std::vector<std::pair<std::string, WinRates>>& rows) {
  std::size_t width = 4;
  for (const auto& [name, rates] : rows) width = std::max(width, name.size());
  constexpr std::string_view kRow = "| {:<{}} | {:>12} | {:>19} | {:>19} | {:>19} | {:>20} | {:>7} |";
  std::string table = fmt::format(kRow, "", width, "win/tie/lose", "win % [95 %]", "tie %", "lose %", "win - lose", "prompts");
  table += fmt::format("\n| {:-<{}} | {:->12} | {:->19} | {:->19} | {:->19} | {:->20} | {:->7} |", "", width, "", "", "", "", "", "");
  for (const auto& [name, rates] : rows) {
    const std::array<int, 3> whole = whole_percents(rates);
    table += '\n';
    table +=
        fmt::format(kRow, name, width, fmt::format("{}/{}/{}", whole[0], whole[1], whole[2]), percent_with_interval(rates.win),
                    percent_with_interval(rates.tie), percent_with_interval(rates.lose), percent_with_interval(rates.net), rates.prompts);
  }
  return table;
}

}  // namespace metarm
