#include "metarm/rl/reference_policy.h"

#include "metarm/base/error.h"

namespace metarm {

Model load_reference_policy(const TrainingSetup& setup, const std::string& directory, ReferenceUse use, Log& log) {
  if (!directory.empty()) {
    Model reference = load_language_model(directory, setup.compute_dtype(), setup.device(), log).model;
    if (reference.spec.vocab_size != setup.policy().spec.vocab_size)
      fail_input("--reference {}: expected a model of the policy's {} tokens, got one of {}", directory, setup.policy().spec.vocab_size,
                 reference.spec.vocab_size);
    return reference;
  }
  Model policy = setup.policy();
  policy.updates.clear();
  if (use == ReferenceUse::before_training) setup.trainable->load_compute();
  if (setup.lora || use == ReferenceUse::before_training) return policy;
  return load_language_model(setup.source, setup.compute_dtype(), setup.device(), log).model;
}

}  // namespace metarm
