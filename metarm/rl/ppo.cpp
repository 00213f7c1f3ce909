#include "metarm/rl/ppo.h"

#include "metarm/base/error.h"
#include "metarm/model/ensemble_config.h"
#include "metarm/rl/policy_optimisation.h"
#include "metarm/train/fingerprint.h"

namespace metarm {

namespace {

// Options of other algorithms than the one chosen.
void check_algorithm_options(const PpoOptions& options, const Parsed& parsed) {
  const Algorithm algorithm = options.objective.algorithm;
  if (algorithm != Algorithm::ppo)
    for (const Field& field : list_fields(CriticOptions{}))
      if (parsed.given.contains(field.info.name))
        fail_input("ppo: --{}: expected --algorithm ppo with it, got {}, which has no critic", field.info.name, enum_name(algorithm));
  const bool by_token = algorithm == Algorithm::ppo || algorithm == Algorithm::reinforce;
  if (!by_token && options.rollouts.responses < 2)
    fail_input("ppo: --responses: expected at least 2 with --algorithm {}, got {}", enum_name(algorithm), options.rollouts.responses);
  if (!by_token && parsed.given.contains("gamma"))
    fail_input("ppo: --gamma: expected --algorithm ppo or reinforce with it, got {}, whose rewards are of whole responses",
               enum_name(algorithm));
  if (algorithm == Algorithm::grpo && parsed.given.contains("kl-estimator"))
    fail_input("ppo: --kl-estimator: expected another --algorithm than grpo with it, whose loss has k3; it has no effect so");
}

void check_options(const PpoOptions& options, const Parsed& parsed) {
  check_algorithm_options(options, parsed);
  const PolicyObjectiveOptions& objective = options.objective;
  for (const char* name : {"cliprange", "cliprange-value"})
    if (objective.updates() == 1 && parsed.given.contains(name))
      fail_input("ppo: --{}: expected more than one update a step with it, got one, in which there is nothing to clip", name);
  if (objective.algorithm == Algorithm::ppo && options.critic.critic.empty() && is_ensemble(options.rm))
    fail_input("ppo: --critic: expected a reward model for the critic to start from, since --rm is an ensemble, got none");
  if (objective.kl_target > 0 && !(objective.kl_coef > 0))
    fail_input("ppo: --kl-target: expected --kl-coef above 0 with it, got {}, which no factor changes", objective.kl_coef);
  const auto responses = static_cast<double>(options.training.batch_size * options.rollouts.responses);
  if (objective.kl_target > 0 && objective.kl_horizon <= 0.2 * responses)
    fail_input("ppo: --kl-horizon: expected more than a fifth of a step's {} responses, below which the coefficient turns negative, got {}",
               responses, objective.kl_horizon);
  if (objective.num_mini_batches > options.training.batch_size)
    fail_input("ppo: --num-mini-batches: expected at most --batch-size {}, got {}", options.training.batch_size,
               objective.num_mini_batches);
}

// `auto` as what it means here.
PpoOptions resolve(const PpoOptions& given) {
  PpoOptions options = given;
  options.common = resolve_for_training(given.common);
  if (options.objective.whiten_advantages == Whitening::automatic)
    options.objective.whiten_advantages = options.objective.algorithm == Algorithm::ppo ? Whitening::on : Whitening::off;
  return options;
}

}  // namespace

std::optional<TrainingSummary> train_ppo(const PpoOptions& given, const Parsed& parsed, Ranks& ranks, Log& log) {
  check_training_options("ppo", given.training, parsed);
  check_options(given, parsed);
  const PpoOptions options = resolve(given);
  RunDirectory run(options.output, "ppo", list_fields(options), options.training.resume, ranks.first());
  if (run.finished()) return std::nullopt;
  TrainingSetup setup(options.policy, options.sequences, options.common, ranks);
  PpoData data;
  data.prompts = load_policy_prompts(options.prompts, setup, options.rollouts.max_prompt_length, options.sequences, log);
  const auto count = static_cast<std::int64_t>(data.prompts.rows.size());
  if (options.objective.num_mini_batches > count)
    fail_input("ppo: --num-mini-batches: expected at most the {} prompts, got {}", count, options.objective.num_mini_batches);
  if (!options.training.probe_prompts.empty())
    data.probe = load_policy_prompts(options.training.probe_prompts, setup, options.rollouts.max_prompt_length, options.sequences, log);
  setup.load_as_policy(options.training, log);
  run.expect_data({{"prompts", fingerprint(data.prompts.tokens)}, {"probe_prompts", fingerprint(data.probe.tokens)}});
  PolicyOptimisation optimisation(options, setup, data, log);
  return run_training(setup, optimisation.objective(), options.training, run, log);
}

}  // namespace metarm
