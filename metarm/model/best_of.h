// Best-of-n sampling: of the responses to a prompt, the one that a reward model likes best. The KL to the policy that drew n is at most
// log n - (n - 1) / n (Beirami et al. 2024, arXiv 2401.01879).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/data/rows.h"
#include "metarm/model/open.h"

namespace metarm {

class BestOf {
 public:
  BestOf(const std::string& reward_model, const CommonOptions& common, std::int64_t tokens_per_batch, Log& log);

  // Leaves each group its best response alone, the first of equals, with its reward.
  void keep_best(std::vector<ResponseGroup>& groups) const;

 private:
  OpenRewardModel scorer_;
  std::int64_t tokens_per_batch_;
  Log& log_;
};

}  // namespace metarm
