#include "metarm/rl/ppo.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/objectives/advantages.h"
#include "metarm/objectives/policy_loss.h"
#include "metarm/rl/reference_policy.h"
#include "metarm/rl/reward_shaping.h"
#include "metarm/rl/rollouts.h"
#include "metarm/train/data_order.h"
#include "metarm/train/fingerprint.h"

namespace metarm {

namespace {

struct PpoData {
  PolicyPrompts prompts, probe;
};

at::Tensor to_tensor(const std::vector<float>& values) { return at::tensor(values, at::kFloat); }

class PolicyOptimisation {
 public:
  PolicyOptimisation(const PpoOptions& options, TrainingSetup& setup, const PpoData& data, Log& log)
      : options_(options),
        objective_(options.objective),
        setup_(setup),
        data_(data),
        maker_(options, setup, log),
        reference_(load_reference_policy(setup, options.reference, ReferenceUse::throughout, log)),
        shaping_(options.objective),
        pass_(make_policy_pass(options.training, options.sequences, options.common)),
        order_(static_cast<std::int64_t>(data.prompts.rows.size()), seed(), "prompts", options.training.shuffle) {
    pass_.temperature = options.rollouts.temperature;
  }

  Objective objective() {
    Objective made;
    made.name = "optimising";
    made.rows = "responses";
    made.steps_per_epoch = order_.steps_per_epoch(options_.training.batch_size);
    made.updates_per_step = updates();
    made.add_gradient = [this](std::int64_t step, std::int64_t update, at::Tensor& gradient) {
      return add_gradient(step, update, gradient);
    };
    made.progress = [](const Json& figures) { return figure_text(figures, "reward") + ", " + figure_text(figures, "kl"); };
    if (!data_.probe.rows.empty()) made.evaluate = [this] { return evaluate(); };
    made.state.numbers = shaping_.numbers();
    return made;
  }

 private:
  std::uint64_t seed() const { return static_cast<std::uint64_t>(options_.common.seed); }
  std::int64_t updates() const { return objective_.num_ppo_epochs * objective_.num_mini_batches; }

  Json add_gradient(std::int64_t step, std::int64_t update, at::Tensor& gradient) {
    setup_.trainable->load_compute();
    if (update == 0) begin(step);
    const std::vector<std::int64_t> prompts = part(step, update);
    std::vector<ResponseTree> trees;
    double count = 0;  // of response tokens
    for (const std::int64_t p : prompts) {
      trees.push_back(trees_[static_cast<std::size_t>(p)]);
      count += static_cast<double>(token_range(static_cast<std::size_t>(p)).size());
    }
    GradientSum sum(setup_.ranks, *setup_.trainable, gradient);
    tokens_ +=
        pass_.backward(setup_, trees, step * updates() + update, sum, [&](const Microbatch& batch) { return loss(batch, prompts, count); });
    figures_["loss"] = sums_[0] / static_cast<double>(update + 1);
    figures_["entropy"] = sums_[1] / static_cast<double>(update + 1);
    figures_["clip_share"] = sums_[2] / static_cast<double>(update + 1);
    figures_["tokens"] = tokens_;
    return figures_;
  }

  at::Tensor loss(const Microbatch& batch, const std::vector<std::int64_t>& prompts, double count) {
    const TokenLogProbs& values = batch.values;
    const auto of_batch = [&](const at::Tensor& value_S) {
      std::vector<at::Tensor> parts;
      for (const std::size_t place : batch.places) {
        const Part range = token_range(static_cast<std::size_t>(prompts[place]));
        parts.push_back(value_S.narrow(0, range.begin, range.size()));
      }
      return at::cat(parts).to(setup_.device());
    };
    const PolicyLosses losses = policy_losses(values.log_prob_S, of_batch(old_log_prob_S_), of_batch(advantage_S_), objective_.cliprange);
    at::Tensor total = losses.loss_S.sum();
    if (objective_.algorithm == Algorithm::grpo)
      total = total + step_kl_coef_ * kl_estimates(values.log_prob_S, of_batch(reference_log_prob_S_), KlEstimator::k3).sum();
    total = (total - objective_.entropy_coef * values.entropy_S.sum()) / count;
    sums_[0] += total.item<double>();
    sums_[1] += values.entropy_S.sum().item<double>() / count;
    sums_[2] += losses.clipped_S.sum().item<double>() / count;
    return total;
  }

  // The prompts of an update: a part of the step's, in an order of its own each pass.
  std::vector<std::int64_t> part(std::int64_t step, std::int64_t update) const {
    const auto count = static_cast<std::int64_t>(trees_.size()), parts = objective_.num_mini_batches;
    const std::int64_t pass = update / parts, index = update % parts;
    std::vector<std::int64_t> prompts(static_cast<std::size_t>(count));
    std::iota(prompts.begin(), prompts.end(), 0);
    if (parts > 1 && options_.training.shuffle)
      prompts =
          permutation(count, RandomStream(seed(), "mini-batches", static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(pass)));
    return {prompts.begin() + index * count / parts, prompts.begin() + (index + 1) * count / parts};
  }

  // The response tokens of prompt p's responses, among the step's.
  Part token_range(std::size_t p) const {
    const Part rows = rollouts_.rows_of(p);
    return {rollouts_.row_begin[static_cast<std::size_t>(rows.begin)], rollouts_.row_begin[static_cast<std::size_t>(rows.end)]};
  }

  // Draws and weighs the responses of a step.
  void begin(std::int64_t step) {
    const std::int64_t count = std::min(options_.training.batch_size, static_cast<std::int64_t>(data_.prompts.rows.size()));
    rollouts_ = maker_.make(data_.prompts, order_.stream(step, count), derive_seed(seed(), "rollouts", static_cast<std::uint64_t>(step)));
    trees_.clear();
    for (std::size_t p = 0; p < rollouts_.prompts.size(); ++p)
      trees_.push_back(make_response_tree(
          std::span(rollouts_.rows)
              .subspan(static_cast<std::size_t>(rollouts_.rows_of(p).begin), static_cast<std::size_t>(rollouts_.responses))));
    old_log_prob_S_ = to_tensor(rollouts_.log_prob_S);
    reference_log_prob_S_ = reference_log_probs();
    step_kl_coef_ = shaping_.kl_coef();
    sums_ = {};
    tokens_ = 0;
    describe_step(step, count);
    advantage_S_ = advantages(shaping_.shape(rollouts_));
    shaping_.adapt(figures_["kl"], rollouts_.row_count());
    const std::int64_t every = options_.training.response_steps;
    if (every > 0 && (step + 1) % every == 0) save_responses(step + 1);
  }

  void save_responses(std::int64_t step) const {
    const std::filesystem::path folder = std::filesystem::path(options_.output) / "responses";
    std::filesystem::create_directories(folder);
    save_rollouts((folder / fmt::format("step-{}.jsonl", step)).string(), rollouts_, data_.prompts);
  }

  at::Tensor reference_log_probs() const {
    at::Tensor made = at::empty({rollouts_.row_begin.back()}, at::kFloat);
    pass_.forward(reference_, setup_.ranks, trees_, [&](const Microbatch& batch) {
      std::int64_t next = 0;
      for (const std::size_t place : batch.places) {
        const Part range = token_range(place);
        made.narrow(0, range.begin, range.size()).copy_(batch.values.log_prob_S.narrow(0, next, range.size()));
        next += range.size();
      }
    });
    return made;
  }

  // Also where a run that has diverged ends.
  void describe_step(std::int64_t step, std::int64_t prompts) {
    const double kl = (old_log_prob_S_ - reference_log_prob_S_).sum().item<double>() / static_cast<double>(rollouts_.row_count());
    figures_ = describe(rollouts_);
    if (!std::isfinite(kl) || !std::isfinite(figures_["reward"].get<double>()))
      fail_input("step {}: expected finite rewards and log-probabilities, got others; lower --lr, and go on from the last checkpoint",
                 step + 1);
    if (objective_.max_kl > 0 && kl > objective_.max_kl)
      fail_input("step {}: expected a KL of up to --max-kl {} a response, got {:.1f}; lower --lr or raise --kl-coef", step + 1,
                 objective_.max_kl, kl);
    figures_.update(Json{{"kl", kl},
                         {"log_kl", std::log(kl)},  // left out where it is not finite
                         {"kl_coef", step_kl_coef_},
                         {"prompts", prompts},
                         {"responses", rollouts_.row_count()}});
  }

  // Of every response token, [S].
  at::Tensor advantages(const std::vector<float>& shaped) const {
    const at::Tensor penalty_S = step_kl_coef_ * kl_estimates(old_log_prob_S_, reference_log_prob_S_, objective_.kl_estimator);
    at::Tensor reward_B = to_tensor(shaped), made;
    switch (objective_.algorithm) {
      case Algorithm::rloo:
        made = spread(rloo_advantages((reward_B - sum_rows(penalty_S, rollouts_.row_begin)).view({-1, rollouts_.responses})));
        break;
      case Algorithm::grpo: made = spread(grpo_advantages(reward_B.view({-1, rollouts_.responses}))); break;
      case Algorithm::reinforce: {
        const std::vector<std::int64_t> last(rollouts_.row_begin.begin() + 1, rollouts_.row_begin.end());
        made = rewards_to_go((-penalty_S).index_add(0, at::tensor(last, at::kLong) - 1, reward_B), rollouts_.row_begin);
        break;
      }
    }
    return objective_.whiten_advantages ? whiten(made) : made;
  }

  // A response's advantage at each of its tokens.
  at::Tensor spread(const at::Tensor& advantage_PK) const {
    std::vector<std::int64_t> lengths;
    for (std::size_t row = 0; row + 1 < rollouts_.row_begin.size(); ++row)
      lengths.push_back(rollouts_.row_begin[row + 1] - rollouts_.row_begin[row]);
    return advantage_PK.reshape({-1}).repeat_interleave(at::tensor(lengths, at::kLong));
  }

  HeldOutFigures evaluate() {
    std::vector<std::int64_t> rows(data_.probe.rows.size());
    std::iota(rows.begin(), rows.end(), 0);
    const Json found = describe(maker_.make(data_.probe, rows, derive_seed(seed(), "probe")));
    HeldOutFigures evaluation{Json::object(), found, fmt::format("{} on {} probe prompts", figure_text(found, "reward"), rows.size())};
    evaluation.summary["prompts"] = rows.size();
    for (const auto& [name, figure] : found.items()) evaluation.figures["eval_" + name] = figure;
    return evaluation;
  }

  const PpoOptions& options_;
  const PolicyObjectiveOptions& objective_;
  TrainingSetup& setup_;
  const PpoData& data_;
  const RolloutMaker maker_;
  const Model reference_;
  RewardShaping shaping_;
  PolicyPass pass_;
  DataOrder order_;

  // Of the step.
  Rollouts rollouts_;
  std::vector<ResponseTree> trees_;  // one a prompt
  at::Tensor old_log_prob_S_, reference_log_prob_S_, advantage_S_;
  double step_kl_coef_ = 0;
  Json figures_;
  std::array<double, 3> sums_ = {};  // loss, entropy and share of clipped tokens, of its updates
  std::int64_t tokens_ = 0;
};

void check_options(const PpoOptions& options, const Parsed& parsed) {
  const PolicyObjectiveOptions& objective = options.objective;
  if (objective.algorithm != Algorithm::reinforce && options.rollouts.responses < 2)
    fail_input("ppo: --responses: expected at least 2 with --algorithm {}, got {}", enum_name(objective.algorithm),
               options.rollouts.responses);
  if (objective.algorithm == Algorithm::grpo && parsed.given.contains("kl-estimator"))
    fail_input("ppo: --kl-estimator: expected another --algorithm than grpo with it, whose loss has k3; it has no effect so");
  if (objective.num_ppo_epochs * objective.num_mini_batches == 1 && parsed.given.contains("cliprange"))
    fail_input("ppo: --cliprange: expected more than one update a step with it, got one, in which no ratio differs from 1");
  if (objective.num_mini_batches > options.training.batch_size)
    fail_input("ppo: --num-mini-batches: expected at most --batch-size {}, got {}", options.training.batch_size,
               objective.num_mini_batches);
}

}  // namespace

std::optional<TrainingSummary> train_ppo(const PpoOptions& given, const Parsed& parsed, Log& log) {
  check_training_options("ppo", given.training, parsed);
  check_options(given, parsed);
  PpoOptions options = given;
  options.common = resolve_for_training(given.common);
  RunDirectory run(options.output, "ppo", list_fields(options), options.training.resume);
  if (run.finished()) return std::nullopt;
  const std::unique_ptr<Ranks> ranks = make_single_rank();
  TrainingSetup setup(options.policy, options.sequences, options.common, *ranks);
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
