// Masks drop the share asked for, keep the mean, and are a function of the text before a token, whatever batch and tree it stands in.
#include "metarm/model/dropout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace metarm {
namespace {

TEST(Dropout, DropsTheShareAskedFor) {
  std::vector<std::uint64_t> keys(200);
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = i;
  for (const double share : {0.1, 0.5, 0.9}) {
    const at::Tensor mask = dropout_mask(keys, 501, share, 3), dropped = (mask == 0).to(at::kDouble);
    const double elements = 200 * 501, deviation = std::sqrt(share * (1 - share));
    EXPECT_NEAR(dropped.mean().item<double>(), share, 4 * deviation / std::sqrt(elements));
    EXPECT_LT((dropped.mean(0) - share).abs().max().item<double>(), 5 * deviation / std::sqrt(200.0)) << "of each element";
    EXPECT_LT((dropped.mean(1) - share).abs().max().item<double>(), 5 * deviation / std::sqrt(501.0)) << "of each token";
    EXPECT_NEAR(mask.max().item<double>(), 1 / (1 - share), 1e-6);
  }
  EXPECT_TRUE(at::equal(dropout_mask(keys, 501, 0.5, 3), dropout_mask(keys, 501, 0.5, 3)));
  const at::Tensor other = dropout_mask(keys, 501, 0.5, 4), one = dropout_mask(keys, 501, 0.5, 3);
  EXPECT_NEAR((one == other).to(at::kDouble).mean().item<double>(), 0.5, 0.01);
}

TEST(Dropout, KeysAreThoseOfTheTextUpToTheToken) {
  const std::array<TokenTree, 2> trees = {TokenTree{{5, 6}, {{7, 8}, {9}}}, TokenTree{{5}, {{6, 7}, {7}}}};
  const std::vector<std::uint64_t> together = path_keys(make_batch(trees)), alone = path_keys(make_batch(std::span(trees).subspan(1)));
  EXPECT_EQ(std::vector(together.begin() + 5, together.end()), alone);
  // 5 6 7 in both trees, as prompt and branch here and there.
  EXPECT_EQ(together[0], together[5]);
  EXPECT_EQ(together[1], together[6]);
  EXPECT_EQ(together[2], together[7]);
  EXPECT_NE(together[8], together[7]) << "5 7 is not 5 6 7";
  EXPECT_NE(together[2], together[4]);
}

}  // namespace
}  // namespace metarm
