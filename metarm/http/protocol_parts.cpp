#include "metarm/http/protocol_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>

#include "metarm/base/random.h"

namespace metarm {

bool flag(const Json& body, const char* field, bool otherwise) {
  const auto found = body.find(field);
  return found == body.end() || found->is_null() ? otherwise : found->get<bool>();
}

std::vector<ScoreItem> text_items(const Json& input, TextForm form, const std::string& field) {
  std::vector<ScoreItem> items;
  const auto add = [&](const Json& value, std::string where) {
    if (value.is_string())
      items.push_back({{}, Content(value.get<std::string>()), form, std::move(where)});
    else
      items.push_back({{}, value.get<TokenIds>(), form, std::move(where)});
  };
  const bool one = input.is_string() || (!input.empty() && input.front().is_number());
  if (one)
    add(input, field);
  else
    for (std::size_t i = 0; i < input.size(); ++i) add(input[i], fmt::format("{}[{}]", field, i));
  return items;
}

ScoreItem pair_item(const Json& prompt, const Json& response, std::string where) {
  return {parse_content(prompt, "prompt", where), parse_content(response, "response", where), TextForm::response, std::move(where)};
}

std::string make_id(const char* prefix, const Json& body) {
  if (body.contains("request_id") && body["request_id"].is_string())
    return fmt::format("{}-{}", prefix, body["request_id"].get<std::string>());
  static std::atomic<std::uint64_t> count = 0;
  const auto now = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  return fmt::format("{}-{:016x}{:016x}", prefix, mix64(now), mix64(++count ^ now));
}

std::vector<std::size_t> best_first(const std::vector<double>& scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  return order;
}

}  // namespace metarm
