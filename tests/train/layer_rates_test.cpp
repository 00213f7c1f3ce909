#include "metarm/train/layer_rates.h"

#include <gtest/gtest.h>

#include <vector>

namespace metarm {
namespace {

using Steps = std::vector<std::int64_t>;

TEST(FirstSteps, GoDownFromTheHighestPlace) {
  const Steps places = {-1, 0, 0, 1, 2, 2};  // embeddings, two layers, the head and the final norm
  EXPECT_EQ(first_steps(places, 10), (Steps{30, 20, 20, 10, 0, 0}));
  EXPECT_EQ(first_steps(places, 0), Steps(6, 0));
}

TEST(FirstSteps, AdaptersWithoutAHeadBeginWithTheLastLayerThatHasSome) {
  const Steps places = {0, 1, 2};
  EXPECT_EQ(first_steps(places, 4), (Steps{8, 4, 0}));
}

}  // namespace
}  // namespace metarm
