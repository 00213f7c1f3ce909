// Simulated streams of scored responses, for the shift test's rates.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "metarm/base/random.h"
#include "metarm/shift/shift_test.h"

namespace metarm {

// Rewards of a prompt's responses: its own level, of deviation 1.5, plus for each response `spread` times a variable of mean 0 and
// deviation 1 (uniform times a normal one: heavier tails than normal), plus `shift`. From prompt `change_at` on, `spread` and `shift` hold;
// before, and in the reference, they are 1 and 0. In units of the deviation of a response about its prompt.
struct SimulatedStream {
  std::int64_t reference = 500, prompts = 2000, responses = 4;
  std::int64_t change_at = 0;
  double spread = 1, shift = 0;
  double rounding = 0;          // rewards in multiples of this: ties
  std::int64_t prompt_set = 0;  // 0: every prompt is new; else this many are visited again and again, in an order anew each time
  std::int64_t remembered = 16'384;
  double alpha = 0.01;
};

// By the same rule as the stream: |r_1 - r_2| and r_1 of each group.
inline ShiftReference shift_reference(std::span<const std::vector<float>> group_rewards) {
  ShiftReference reference;
  for (const std::vector<float>& rewards : group_rewards) {
    if (!rewards.empty()) reference.rewards.push_back(rewards[0]);
    if (rewards.size() > 1) reference.differences.push_back(std::abs(static_cast<double>(rewards[0]) - rewards[1]));
  }
  return reference;
}

class StreamSimulation {
 public:
  StreamSimulation(const SimulatedStream& stream, std::uint64_t seed) : stream_(stream), seed_(seed), random_(seed, "simulated rewards") {}

  ShiftTest make_test() {
    std::vector<std::vector<float>> groups;
    for (std::int64_t n = 0; n < stream_.reference; ++n) groups.push_back(group(next_prompt(n), 1, 0));
    ShiftTestOptions options;
    options.alpha = stream_.alpha;
    options.seed = seed_;
    options.remembered_prompts = stream_.remembered;
    return ShiftTest(shift_reference(groups), options);
  }
  // The prompt after which the test gave its alarm; -1: none.
  std::int64_t alarm_at() {
    ShiftTest test = make_test();
    for (std::int64_t n = 0; n < stream_.prompts; ++n) {
      const bool changed = n >= stream_.change_at;
      const std::uint64_t prompt = next_prompt(stream_.reference + n);
      const std::vector<float> rewards = group(prompt, changed ? stream_.spread : 1, changed ? stream_.shift : 0);
      for (std::size_t k = 0; k < rewards.size(); ++k)
        if (test.add(prompt, k, rewards[k])) return n;
    }
    return -1;
  }
  std::vector<float> group(std::uint64_t prompt, double spread, double shift) {
    const double level = 1.5 * RandomStream(seed_, "prompt level", prompt).normal();
    std::vector<float> rewards;
    for (std::int64_t k = 0; k < stream_.responses; ++k) {
      const double noise = std::sqrt(3.0) * random_.uniform() * random_.normal();
      const double reward = level + spread * noise + shift;
      rewards.push_back(static_cast<float>(stream_.rounding > 0 ? std::round(reward / stream_.rounding) * stream_.rounding : reward));
    }
    return rewards;
  }

 private:
  std::uint64_t next_prompt(std::int64_t n) {
    if (stream_.prompt_set == 0) return static_cast<std::uint64_t>(n);
    const std::int64_t visit = n / stream_.prompt_set;
    if (visit != visit_) order_ = permutation(stream_.prompt_set, RandomStream(seed_, "order", static_cast<std::uint64_t>(visit)));
    visit_ = visit;
    return static_cast<std::uint64_t>(order_[static_cast<std::size_t>(n % stream_.prompt_set)]);
  }

  SimulatedStream stream_;
  std::uint64_t seed_;
  RandomStream random_;
  std::int64_t visit_ = -1;
  std::vector<std::int64_t> order_;
};

inline std::vector<std::int64_t> simulate_alarms(const SimulatedStream& stream, std::int64_t streams) {
  std::vector<std::int64_t> alarms;
  for (std::int64_t n = 0; n < streams; ++n) alarms.push_back(StreamSimulation(stream, static_cast<std::uint64_t>(n)).alarm_at());
  return alarms;
}

}  // namespace metarm
