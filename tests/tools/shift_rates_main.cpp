// shift_rates [STREAMS]: the shift test's false alarms and delays over simulated streams, as the tables of docs/serving_shift.md.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "tests/shift/shift_simulation.h"

namespace metarm {
namespace {

struct Bounds {
  double low, high;
};

// P(X <= successes) for X binomial.
double binomial_below(std::int64_t trials, std::int64_t successes, double probability) {
  if (probability <= 0) return 1;
  if (probability >= 1) return successes >= trials ? 1 : 0;
  double sum = 0;
  const auto n = static_cast<double>(trials);
  for (std::int64_t c = 0; c <= successes; ++c) {
    const auto k = static_cast<double>(c);
    sum += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) + k * std::log(probability) +
                    (n - k) * std::log1p(-probability));
  }
  return sum;
}

// Clopper and Pearson's 95 % interval.
Bounds exact_interval(std::int64_t successes, std::int64_t trials) {
  const auto solve = [&](std::int64_t count, double wanted) {
    double low = 0, high = 1;
    while (high - low > 1e-9) {
      const double middle = (low + high) / 2;
      (binomial_below(trials, count, middle) > wanted ? low : high) = middle;
    }
    return low;
  };
  return {successes == 0 ? 0 : solve(successes - 1, 0.975), successes == trials ? 1 : solve(successes, 0.025)};
}

void print_false_alarms(const std::string& name, const SimulatedStream& stream, std::int64_t streams) {
  const std::vector<std::int64_t> alarms = simulate_alarms(stream, streams);
  const auto count = std::count_if(alarms.begin(), alarms.end(), [](std::int64_t at) { return at >= 0; });
  const Bounds bounds = exact_interval(count, streams);
  fmt::print("| {} | {} | {} | {:g} % | {} of {} | {:.2f} % to {:.2f} % |\n", name, stream.reference, stream.prompts, 100 * stream.alpha,
             count, streams, 100 * bounds.low, 100 * bounds.high);
}

void print_delays(const std::string& name, const SimulatedStream& stream, std::int64_t streams) {
  std::vector<std::int64_t> delays;
  std::int64_t early = 0;
  for (const std::int64_t at : simulate_alarms(stream, streams)) {
    if (at >= 0 && at < stream.change_at) ++early;
    if (at >= stream.change_at) delays.push_back(at - stream.change_at + 1);
  }
  std::sort(delays.begin(), delays.end());
  const auto at_share = [&](double share) {  // of all streams without a false alarm; those that never find it are last
    const auto rank = static_cast<std::size_t>(share * static_cast<double>(streams - early));
    return rank < delays.size() ? fmt::format("{}", delays[rank]) : std::string("never");
  };
  fmt::print("| {} | {} | {} | {} | {} | {} of {} |\n", name, stream.reference, stream.change_at, at_share(0.5), at_share(0.9),
             delays.size(), streams - early);
}

void print_rates(std::int64_t streams) {
  fmt::print(
      "| stream without a shift | reference | prompts | alpha | false alarms | 95 % interval |\n| --- | --- | --- | --- | --- | --- |\n");
  print_false_alarms("new prompts", {.alpha = 0.05}, streams);
  print_false_alarms("new prompts", {.alpha = 0.01}, streams);
  print_false_alarms("new prompts", {.prompts = 10'000, .alpha = 0.05}, streams / 4);
  print_false_alarms("new prompts, small reference", {.reference = 50, .alpha = 0.05}, streams);
  print_false_alarms("rewards in steps of 0.5", {.rounding = 0.5, .alpha = 0.05}, streams);
  print_false_alarms("600 prompts again and again",
                     {.reference = 300, .prompts = 3000, .prompt_set = 600, .remembered = 300, .alpha = 0.05}, streams);
  fmt::print(
      "\n| shift, alpha 1 % | reference | prompts before | median delay | 90 % delay | found in 4000 |\n| --- | --- | --- | --- | --- | "
      "--- |\n");
  const std::int64_t few = streams / 5;
  for (const std::int64_t before : {0, 2000}) {
    const auto stream = [&](double spread, double shift, std::int64_t reference = 500) {
      return SimulatedStream{.reference = reference, .prompts = before + 4000, .change_at = before, .spread = spread, .shift = shift};
    };
    print_delays("differences times 0.8", stream(0.8, 0), few);
    print_delays("differences times 0.6", stream(0.6, 0), few);
    print_delays("differences times 0.4", stream(0.4, 0), few);
    print_delays("differences times 0.6", stream(0.6, 0, 2000), few);
    print_delays("rewards + 0.5", stream(1, 0.5), few);
    print_delays("rewards + 1", stream(1, 1), few);
    print_delays("rewards + 1", stream(1, 1, 2000), few);
  }
}

}  // namespace
}  // namespace metarm

int main(int argc, char** argv) { metarm::print_rates(argc > 1 ? std::atoll(argv[1]) : 1000); }
