#include "metarm/rl/experience.h"

#include <ATen/ATen.h>

#include <utility>

namespace metarm {

MiniBatch make_mini_batch(const Experience& experience, std::vector<std::int64_t> prompts) {
  MiniBatch made{experience, std::move(prompts), {}};
  for (const std::int64_t p : made.prompts) {
    made.trees.push_back(experience.trees[static_cast<std::size_t>(p)]);
    made.tokens += static_cast<double>(experience.rollouts.tokens_of(static_cast<std::size_t>(p)).size());
  }
  return made;
}

at::Tensor MiniBatch::of_batch(const Microbatch& batch, const at::Tensor& value_S, at::Device device) const {
  std::vector<at::Tensor> parts;
  for (const std::size_t place : batch.places) {
    const Part tokens_of_prompt = experience.rollouts.tokens_of(static_cast<std::size_t>(prompts[place]));
    parts.push_back(value_S.narrow(0, tokens_of_prompt.begin, tokens_of_prompt.size()));
  }
  return at::cat(parts).to(device);
}

}  // namespace metarm
