// Consistency under augmentation, on unlabelled responses: their rewards under two dropout masks should prefer the same responses (the
// consistency loss of objectives/consistency_loss.h; two passes over unlabelled data as in the Π-model, Laine & Aila 2017, arXiv
// 1610.02242). Dropout is the augmentation that surely leaves a preference as it is, whatever the text.
#pragma once

#include <cstdint>
#include <span>

#include "metarm/base/json_lines.h"
#include "metarm/base/options.h"
#include "metarm/train/data_order.h"
#include "metarm/train/training_setup.h"

namespace metarm {

struct ConsistencyOptions {
  double consistency_coef = 0;
  std::int64_t consistency_batch_size = 8;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.consistency_coef,
          {.name = "consistency-coef",
           .help = "Weight of the consistency loss on --responses: how far their rewards under two dropout masks are "
                   "apart on which response is better; 0: none. [R-Drop alpha]",
           .min = 0,
           .needs = "dropout"});
    visit(self.consistency_batch_size, {.name = "consistency-batch-size",
                                        .help = "Response groups of the consistency loss a step.",
                                        .min = 1,
                                        .needs = "consistency-coef"});
  }
};

struct ConsistencyFigures {
  double loss = 0;  // mean over the groups, without its weight
  std::int64_t groups = 0, tokens = 0;
  void add_to(Json& figures) const;  // nothing without groups
};

class ConsistencyStep {
 public:
  // `groups` must outlive it. Without a coefficient or groups a step adds nothing.
  ConsistencyStep(const ConsistencyOptions& options, std::span<const EncodedGroup> groups, const TrainingSetup& setup,
                  const TrainingOptions& training, const ScoringOptions& scoring, const CommonOptions& common);

  // Adds the coefficient times ∇C, of this rank's share of the step's groups, to the leaves' gradients. The figures are of all groups.
  ConsistencyFigures backward(std::int64_t step);

 private:
  ForwardOptions forward(std::int64_t step, std::uint64_t pass) const;

  const TrainingSetup& setup_;
  const double coef_, dropout_;
  const bool gradient_checkpointing_;
  const std::int64_t batch_size_, tokens_per_batch_;
  const std::uint64_t seed_;
  const std::span<const EncodedGroup> groups_;
  DataOrder order_;
};

}  // namespace metarm
