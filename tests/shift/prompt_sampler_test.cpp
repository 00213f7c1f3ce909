#include "metarm/shift/prompt_sampler.h"

#include <gtest/gtest.h>

#include <map>

namespace metarm {
namespace {

TEST(PromptSampler, KeepsAllBelowTheRate) {
  PromptSampler sampler(10, 60, 1);
  for (int n = 0; n < 6000; ++n) EXPECT_TRUE(sampler.keep(static_cast<std::uint64_t>(n), 1e9 + n * 0.1));
}

TEST(PromptSampler, HoldsTheRateUnderASteadyExcess) {
  PromptSampler sampler(10, 60, 1);
  int kept = 0, late = 0;
  for (int n = 0; n < 400'000; ++n) {  // 100 rows a second, ten to a prompt
    const bool one = sampler.keep(static_cast<std::uint64_t>(n / 10), 1e9 + n * 0.01);
    kept += one;
    late += one && n >= 100'000;
  }
  EXPECT_LE(kept, 10 * 60 + 10 * 4000);  // the header's bound
  EXPECT_NEAR(late / 3000.0, 10, 0.5);   // and the rate is used
}

TEST(PromptSampler, KeepsGroupsWhole) {
  PromptSampler sampler(200, 60, 1);
  std::map<int, int> kept;  // of the eight of each prompt
  for (int n = 0; n < 400'000; ++n) {
    const int count = sampler.keep(static_cast<std::uint64_t>(n / 8), 1e9 + n * 0.0005);
    if (n >= 100'000) kept[n / 8] += count;
  }
  int whole = 0, torn = 0;
  for (const auto& [prompt, count] : kept) {
    whole += count == 8;
    torn += count > 0 && count < 8;
  }
  EXPECT_GT(whole, 20 * torn);
  EXPECT_GT(whole, 1000);
}

TEST(PromptSampler, DrawsOtherPromptsLater) {
  PromptSampler sampler(10, 60, 1);
  std::map<int, int> kept;
  for (int n = 0; n < 1'000'000; ++n) kept[n % 100] += sampler.keep(static_cast<std::uint64_t>(n % 100), 1e9 + n * 0.01);
  int never = 0;
  for (const auto& [prompt, count] : kept) never += count == 0;
  EXPECT_LT(never, 40);  // 17 periods, a tenth of the prompts in each: 0.9^17 = 17 % are left out by chance
}

}  // namespace
}  // namespace metarm
