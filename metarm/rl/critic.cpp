#include "metarm/rl/critic.h"

#include <ATen/ATen.h>

#include <memory>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/objectives/value_loss.h"

namespace metarm {

namespace {

const std::string& source_of(const PpoOptions& options) { return options.critic.critic.empty() ? options.rm : options.critic.critic; }

// --chat-template is the policy's, whose tokens the critic reads.
SequenceOptions sequences_of(const PpoOptions& options) {
  SequenceOptions sequences = options.sequences;
  sequences.chat_template = ChatFormat::automatic;
  return sequences;
}

// PEFT has no adapters over adapters.
PpoTrainingOptions training_of(const PpoOptions& options) {
  PpoTrainingOptions training = options.training;
  training.merge_lora = training.merge_lora || is_adapter(source_of(options));
  return training;
}

void check_same_tokens(const TrainingSetup& critic, const TrainingSetup& policy) {
  const auto fail = [&](const std::string& got) {
    fail_input("{}: expected a critic of the policy's tokens, got {}; give a reward model that was trained from such a policy as --critic",
               critic.source, got);
  };
  for (TokenId id = 0; id < policy.tokenizer->vocab_size(); ++id) {
    const std::string_view expected = policy.tokenizer->id_to_token(id), found = critic.tokenizer->id_to_token(id);
    if (expected != found && !expected.empty()) fail(fmt::format("{} for {} as token {}", found, expected, id));
  }
  const std::int64_t least = policy.policy().spec.vocab_size, size = critic.reward_model().model.spec.vocab_size;
  if (size < least) fail(fmt::format("{} embeddings for {} tokens", size, least));
}

}  // namespace

Critic::Critic(const PpoOptions& options, const TrainingSetup& policy, Log& log)
    : options_(options),
      training_(training_of(options)),
      setup_(source_of(options), sequences_of(options), options.common, policy.ranks),
      pass_(make_response_pass(options.training, options.sequences, options.common)) {
  const std::unique_ptr<Log> quiet = make_null_log();  // for what was said of the reward model
  const ScoringOptions scoring{sequences_of(options), PoolingChoice::automatic};
  setup_.load_as_reward_model(MissingHead::fail, false, training_, scoring, options.critic.critic.empty() ? *quiet : log);
  check_same_tokens(setup_, policy);
}

SecondModel Critic::second_model(std::function<MiniBatch(std::int64_t, std::int64_t)> mini_batch) {
  const auto add = [this, part = std::move(mini_batch)](std::int64_t step, std::int64_t update, at::Tensor& gradient) {
    return add_gradient(part(step, update), step, update, gradient);
  };
  return {setup_, "critic", options_.critic.critic_lr, training_.merge_lora, add};
}

at::Tensor Critic::values(std::span<const ResponseTree> trees) {
  setup_.trainable->load_compute();
  return pass_.read_tokens(setup_.ranks, trees, [&](const Microbatch& batch) { return batch.values(setup_.reward_model()); });
}

Json Critic::add_gradient(const MiniBatch& part, std::int64_t step, std::int64_t update, at::Tensor& gradient) {
  setup_.trainable->load_compute();
  const Experience& experience = part.experience;
  const std::int64_t updates = options_.objective.updates();
  std::array<double, 2> sums = {};
  GradientSum sum(setup_.ranks, *setup_.trainable, gradient);
  pass_.backward(setup_.ranks, part.trees, step * updates + update, sum, [&](const Microbatch& batch) {
    const auto of_batch = [&](const at::Tensor& value_S) { return part.of_batch(batch, value_S, setup_.device()); };
    const ValueLosses losses = value_losses(batch.values(setup_.reward_model()), of_batch(experience.value_S),
                                            of_batch(experience.return_S), options_.critic.cliprange_value);
    const at::Tensor loss = losses.loss_S.sum() / part.tokens;
    sums[0] += loss.item<double>();
    sums[1] += losses.clipped_S.sum().item<double>() / part.tokens;
    return loss * options_.critic.vf_coef;
  });
  setup_.ranks.sum(sums);
  if (update == 0) sums_ = {};
  for (std::size_t i = 0; i < sums.size(); ++i) sums_[i] += sums[i];
  const auto done = static_cast<double>(update + 1);
  return {{"value_loss", sums_[0] / done}, {"value_clip_share", sums_[1] / done}};
}

}  // namespace metarm
