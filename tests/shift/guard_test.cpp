#include "metarm/shift/guard.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "metarm/base/error.h"
#include "metarm/base/random.h"

namespace metarm {
namespace {

// Tango's bound from its definition, by brute force: the likeliest loss probability given the change found on a grid.
double brute_force_bound(int pairs, int gained, int lost, double z) {
  const double n = pairs;
  const auto likelihood = [&](double q, double change) {
    const double gain = q + change, same = 1 - 2 * q - change;
    const auto part = [](int count, double p) { return count == 0 ? 0 : p > 0 ? count * std::log(p) : -1e300; };
    return gain < 0 || same < 0 ? -1e300 : part(gained, gain) + part(lost, q) + part(pairs - gained - lost, same);
  };
  for (double change = (gained - lost) / n; change > -1; change -= 1e-4) {
    double best = 0, best_q = 0;
    bool any = false;
    for (double q = std::max(0.0, -change); 2 * q + change <= 1; q += 2e-5) {
      const double value = likelihood(q, change);
      if (!any || value > best) {
        best = value;
        best_q = q;
      }
      any = true;
    }
    const double variance = n * (2 * best_q + change * (1 - change));
    if (variance > 0 && (gained - lost - n * change) / std::sqrt(variance) > z) return change;
  }
  return -1;
}

constexpr double kZ95 = 1.6448536269514722;

TEST(Guard, TangosBoundByItsDefinition) {
  for (const auto& [pairs, gained, lost] : {std::array{100, 10, 5}, {100, 5, 10}, {50, 0, 3}, {50, 3, 0}, {40, 0, 0}})
    EXPECT_NEAR(paired_change_lower_bound(pairs, gained, lost, 0.95), brute_force_bound(pairs, gained, lost, kZ95), 3e-4)
        << pairs << " " << gained << " " << lost;
  EXPECT_NEAR(paired_change_lower_bound(40, 0, 0, 0.95), -kZ95 * kZ95 / (40 + kZ95 * kZ95), 1e-9);  // by hand
  EXPECT_LT(paired_change_lower_bound(100, 5, 5, 0.99), paired_change_lower_bound(100, 5, 5, 0.95));
}

// The true change is below the bound in about 5 % of samples, 5 standard errors of 4000 allowed.
TEST(Guard, TheBoundCoversTheChange) {
  int missed = 0;
  const int samples = 4000;
  for (int sample = 0; sample < samples; ++sample) {
    RandomStream random(1, "pairs", static_cast<std::uint64_t>(sample));
    int gained = 0, lost = 0;
    for (int n = 0; n < 300; ++n) {
      const double u = random.uniform();
      gained += u < 0.05;
      lost += u > 0.93;
    }
    missed += paired_change_lower_bound(300, gained, lost, 0.95) > -0.02;
  }
  EXPECT_NEAR(missed / double{samples}, 0.05, 0.018);
}

struct Case {
  GuardMeasures measures;
  GuardLimits limits;
};

// A served model that is right on 4 of 5 pairs, and a candidate that says the same on another scale.
Case sound() {
  Case made;
  RandomStream random(2, "guard");
  for (int n = 0; n < 1000; ++n) {
    const float rejected = static_cast<float>(random.normal()), margin = n % 5 == 0 ? -0.5F : 1.0F;
    made.measures.served_pairs.push_back({rejected + margin, rejected});
    made.measures.candidate_pairs.push_back({3 * (rejected + margin) + 7, 3 * rejected + 7});
  }
  for (int n = 0; n < 100; ++n) {
    const float a = static_cast<float>(random.normal()), b = static_cast<float>(random.normal());
    made.measures.served_groups.push_back({a, b, 0});
    made.measures.candidate_groups.push_back({3 * a + 7, 3 * b + 7, 7});
  }
  return made;
}

std::string objection(const Case& judged) {
  const GuardDecision decision = decide_admission(judged.measures, judged.limits);
  std::string found;
  for (const std::string& reason : decision.reasons)
    if (reason.starts_with("rejected: ")) found += reason;
  EXPECT_EQ(decision.admitted, found.empty());
  return found;
}

TEST(Guard, AdmitsTheSameModelOnAnotherScaleAndMapsItBack) {
  const Case same = sound();
  const GuardDecision decision = decide_admission(same.measures, same.limits);
  EXPECT_TRUE(decision.admitted);
  EXPECT_EQ(decision.reasons.size(), 3U);
  EXPECT_NEAR(decision.map.scale, 1.0 / 3, 1e-6);
  EXPECT_NEAR(decision.map.offset, -7.0 / 3, 1e-5);
  EXPECT_NEAR(decision.map(same.measures.candidate_pairs[3].chosen), same.measures.served_pairs[3].chosen, 1e-5);
  EXPECT_EQ(decision.accuracy.change, 0);
  EXPECT_NEAR(decision.discrimination.candidate, decision.discrimination.served, 1e-6);  // scale counts for nothing
}

TEST(Guard, MapKeepsMeanAndDeviation) {
  std::vector<PairRewards> candidate = sound().measures.candidate_pairs;
  const RewardScale served = reward_scale(sound().measures.served_pairs);
  const AffineMap map = keep_scale(reward_scale(candidate), served);
  for (PairRewards& pair : candidate) pair = {static_cast<float>(map(pair.chosen)), static_cast<float>(map(pair.rejected))};
  EXPECT_NEAR(reward_scale(candidate).mean, served.mean, 1e-5);
  EXPECT_NEAR(reward_scale(candidate).deviation, served.deviation, 1e-5);
  const std::vector<PairRewards> two = {{3, 1}};
  EXPECT_EQ(reward_scale(two).mean, 2);
  EXPECT_EQ(reward_scale(two).deviation, 1);
}

TEST(Guard, RejectsLostAccuracy) {
  Case worse = sound();
  for (std::size_t n = 1; n < 300; n += 5) std::swap(worse.measures.candidate_pairs[n].chosen, worse.measures.candidate_pairs[n].rejected);
  EXPECT_NE(objection(worse).find("rejected: accuracy changed by -0.0600 on 1000 held-out pairs (0 gained, 60 lost)"), std::string::npos)
      << objection(worse);
  worse.limits.accuracy_margin = 0.1;
  EXPECT_EQ(objection(worse), "");
}

TEST(Guard, RejectsWhatTooFewPairsCannotShow) {
  Case few = sound();
  few.measures.served_pairs.resize(50);
  few.measures.candidate_pairs.resize(50);
  EXPECT_NE(objection(few).find("accuracy changed by +0.0000 on 50"), std::string::npos);
}

TEST(Guard, RejectsLostDiscrimination) {
  Case bunched = sound();
  for (std::vector<float>& rewards : bunched.measures.candidate_groups)
    for (float& reward : rewards) reward = 7 + (reward - 7) * 0.9F;
  EXPECT_NE(objection(bunched).find("rejected: mean reward difference in 100 held-out groups"), std::string::npos);
  Case noisy = sound();  // some up, some down: no evidence of a fall
  for (std::size_t n = 0; n < 100; ++n)
    for (float& reward : noisy.measures.candidate_groups[n]) reward = 7 + (reward - 7) * (n % 2 == 0 ? 0.5F : 1.5F);
  EXPECT_EQ(objection(noisy), "");
}

TEST(Guard, SaysWhereTooFewGroupsTellNothing) {
  Case one = sound();
  one.measures.served_groups = {{0, 1}};
  one.measures.candidate_groups = {{0, 0.5F}};
  const GuardDecision decision = decide_admission(one.measures, GuardLimits{});
  EXPECT_TRUE(decision.admitted);
  EXPECT_EQ(decision.reasons.back(), "discrimination was not judged: expected at least 2 held-out groups, got 1");
}

TEST(Guard, RejectsRewardsThatAreNoneOrOffScale) {
  Case infinite = sound();
  infinite.measures.candidate_groups[3][1] = std::numeric_limits<float>::infinity();
  EXPECT_NE(objection(infinite).find("not a finite number"), std::string::npos);
  Case missing = sound();
  missing.measures.candidate_pairs[3].chosen = std::nanf("");
  EXPECT_NE(objection(missing).find("not a finite number"), std::string::npos);
  Case flat = sound();
  flat.measures.candidate_pairs.assign(1000, {1, 1});
  EXPECT_NE(objection(flat).find("all alike in the new model"), std::string::npos);
  Case huge = sound();
  huge.limits.max_rescale = 2.9;
  EXPECT_NE(objection(huge).find("rejected: reward deviation on the pairs"), std::string::npos);
}

TEST(Guard, ScaleIsThatOfTheServedModelBeforeItsMap) {
  Case grown = sound();  // the candidate's deviation is three times the served, mapped one; its parent's own is that already
  grown.limits.max_rescale = 2;
  EXPECT_NE(objection(grown).find("rejected: reward deviation on the pairs"), std::string::npos);
  grown.measures.served_map = {1.0 / 3, 0};
  EXPECT_EQ(objection(grown), "");
  const GuardDecision decision = decide_admission(grown.measures, grown.limits);
  EXPECT_NEAR(decision.map.scale, 1.0 / 3, 1e-6) << "what is served keeps the served deviation";
  const double raw = decision.candidate_scale.deviation;
  EXPECT_NE(decision.reasons[0].find(fmt::format("{:.4g}, {:.4g} before", raw, raw)), std::string::npos) << decision.reasons[0];
}

TEST(Guard, AccuracyDoesNotWearAwayOverVersions) {
  Case worn = sound();
  worn.measures.first_pairs = worn.measures.served_pairs;
  EXPECT_EQ(objection(worn), "");
  for (std::size_t n = 0; n < 300; n += 5) std::swap(worn.measures.first_pairs[n].chosen, worn.measures.first_pairs[n].rejected);
  EXPECT_NE(objection(worn).find("rejected: accuracy since version 1 changed by -0.0600 on 1000 held-out pairs"), std::string::npos)
      << objection(worn);
  EXPECT_EQ(decide_admission(worn.measures, worn.limits).accuracy_since_first->lost, 60);
  worn.measures.first_pairs.pop_back();
  EXPECT_THROW(decide_admission(worn.measures, {}), Error);
}

TEST(Guard, NeedsPairsAndRowsThatMatch) {
  EXPECT_THROW(decide_admission({}, {}), Error);
  Case other = sound();
  other.measures.candidate_pairs.pop_back();
  EXPECT_THROW(decide_admission(other.measures, {}), Error);
  Case single = sound();
  single.measures.served_groups[0] = single.measures.candidate_groups[0] = {1};
  EXPECT_THROW(decide_admission(single.measures, {}), Error);
}

}  // namespace
}  // namespace metarm
