// `metarm ppo`: a policy by a reward model, on responses that it draws itself. One step, for P prompts with k responses each:
//
//   draw       y ~ pi_old at the temperature; log pi_old is recorded as tokens are drawn
//   score      rewards R by the reward model, shaped as reward_shaping.h says; the reference's log-probabilities
//   advantages by token, of the response that it belongs to (objectives/advantages.h), with d the KL estimates (objectives/kl.h) and r the
//              rewards of tokens, −beta · d, R added at a response's last one:
//                rloo       of R − beta · sum of d
//                grpo       of R alone
//                reinforce  gae of r, with V = 0 and lambda = 1
//                ppo        gae of r, with V by the critic (critic.h), whose targets are A + V; A then whitened
//   update     num_ppo_epochs · num_mini_batches times, on the mean over a part's tokens of the clipped loss (objectives/policy_loss.h)
//              − entropy_coef · entropy, for grpo + beta · k3; the critic on the same part
//
// Figures of each step: loss, entropy, clip_share, of its updates; kl (mean over responses of log pi_old − log pi_ref), log_kl, kl_coef;
// what describe() in rollouts.h says of the responses; prompts, responses, tokens. With a critic: value, return (means over tokens) and
// explained_variance (objectives/value_loss.h) before the updates, value_loss and value_clip_share of the updates. On probe prompts, as
// eval_...: kl, and describe() in units of the deviation of the rewards that the first step drew, so that figures of one run compare.
#pragma once

#include <optional>

#include "metarm/base/log.h"
#include "metarm/rl/ppo_options.h"
#include "metarm/train/loop.h"

namespace metarm {

// All ranks call it: each draws and scores responses to its part of a step's prompts, and learns from its part of their trees; the folder
// is written by the first. Input error where log-probabilities or rewards are no longer finite or the KL exceeds --max-kl, of a step's
// responses or those to the probe prompts. nullopt: the run was finished already (--resume), nothing was done.
std::optional<TrainingSummary> train_ppo(const PpoOptions& options, const Parsed& parsed, Ranks& ranks, Log& log);

}  // namespace metarm
