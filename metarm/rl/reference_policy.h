// The reference policy, which a policy is held to.
#pragma once

#include <string>

#include "metarm/base/log.h"
#include "metarm/train/training_setup.h"

namespace metarm {

enum class ReferenceUse {
  before_training,  // its weights may be the policy's, which training will move
  throughout,
};

// The language model in `directory`, in the policy's compute type, or, where that is empty, the policy as it starts; with LoRA that is its
// base, and no second model is held. Call it before the first step. Input error for a model of other tokens.
Model load_reference_policy(const TrainingSetup& setup, const std::string& directory, ReferenceUse use, Log& log);

}  // namespace metarm
