#include "metarm/model/token_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

namespace metarm {
namespace {

std::map<TokenId, double> frequencies(const std::vector<float>& logits, const TokenSampling& sampling, int draws = 40000) {
  std::map<TokenId, double> share;
  for (int i = 0; i < draws; ++i) {
    RandomStream random(7, "test", static_cast<std::uint64_t>(i));
    share[sample_token(logits, sampling, random)] += 1.0 / draws;
  }
  return share;
}

const std::vector<float> kLogits = {std::log(0.1F), std::log(0.4F), std::log(0.2F), std::log(0.3F)};

TEST(TokenSampler, DrawsInProportion) {
  auto share = frequencies(kLogits, {});
  EXPECT_NEAR(share[0], 0.1, 0.01);
  EXPECT_NEAR(share[1], 0.4, 0.01);
  EXPECT_NEAR(share[2], 0.2, 0.01);
}

TEST(TokenSampler, TemperatureSharpens) {
  auto share = frequencies(kLogits, {.temperature = 0.5});
  EXPECT_NEAR(share[1], 0.16 / 0.30, 0.01);  // squares: .01 .16 .04 .09
}

TEST(TokenSampler, ZeroTemperatureIsTheMostProbable) { EXPECT_EQ(frequencies(kLogits, {.temperature = 0}, 10).begin()->first, 1); }

TEST(TokenSampler, TopKKeepsTheMostProbable) {
  auto share = frequencies(kLogits, {.top_k = 2});
  EXPECT_EQ(share.size(), 2U);
  EXPECT_NEAR(share[1], 4.0 / 7, 0.01);
}

TEST(TokenSampler, TopPKeepsTheSmallestSetThatReachesIt) {
  EXPECT_EQ(frequencies(kLogits, {.top_p = 0.65}).size(), 2U);  // .4 + .3
  EXPECT_EQ(frequencies(kLogits, {.top_p = 0.75}).size(), 3U);
  EXPECT_EQ(frequencies(kLogits, {.top_p = 0.01}).size(), 1U);
}

TEST(TokenSampler, TopPOfTheTopK) { EXPECT_EQ(frequencies(kLogits, {.top_p = 0.5, .top_k = 2}).size(), 1U); }

TEST(TokenSampler, TopPOverALargeFlatVocabulary) {
  const std::vector<float> flat(5000, 0.0F);
  auto share = frequencies(flat, {.top_p = 0.2}, 5000);
  EXPECT_LT(share.rbegin()->first, 1002);
  EXPECT_GT(share.size(), 900U);
}

}  // namespace
}  // namespace metarm
