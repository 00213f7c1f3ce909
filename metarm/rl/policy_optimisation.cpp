#include "metarm/rl/policy_optimisation.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <numeric>
#include <span>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/model/shared_weights.h"
#include "metarm/objectives/advantages.h"
#include "metarm/objectives/policy_loss.h"
#include "metarm/objectives/value_loss.h"
#include "metarm/rl/reference_policy.h"

namespace metarm {

namespace {

at::Tensor to_tensor(const std::vector<float>& values) { return at::tensor(values, at::kFloat); }

// One a prompt.
std::vector<ResponseTree> make_trees(const Rollouts& rollouts) {
  std::vector<ResponseTree> trees;
  for (std::size_t p = 0; p < rollouts.prompts.size(); ++p)
    trees.push_back(make_response_tree(
        std::span(rollouts.rows)
            .subspan(static_cast<std::size_t>(rollouts.rows_of(p).begin), static_cast<std::size_t>(rollouts.responses))));
  return trees;
}

}  // namespace

PolicyOptimisation::PolicyOptimisation(const PpoOptions& options, TrainingSetup& setup, const PpoData& data, Log& log)
    : options_(options),
      objective_(options.objective),
      setup_(setup),
      data_(data),
      maker_(options, setup, log),
      reference_(load_reference_policy(setup, options.reference, ReferenceUse::throughout, log)),
      shaping_(options.objective),
      pass_(make_response_pass(options.training, options.sequences, options.common)),
      order_(static_cast<std::int64_t>(data.prompts.rows.size()), seed(), "prompts", options.training.shuffle) {
  if (objective_.algorithm == Algorithm::ppo) critic_.emplace(options, setup, log);
  std::vector<Weights*> frozen = {&reference_.weights};
  if (setup.lora) frozen.insert(frozen.begin(), &setup.frozen_weights());
  for (Weights* weights : maker_.frozen_weights()) frozen.push_back(weights);
  if (critic_ && setup.lora) frozen.push_back(&critic_->setup().frozen_weights());
  hold_equal_tensors_once(frozen);
}

Objective PolicyOptimisation::objective() {
  Objective made;
  made.name = "optimising";
  made.rows = "responses";
  made.steps_per_epoch = order_.steps_per_epoch(options_.training.batch_size);
  made.updates_per_step = objective_.updates();
  made.add_gradient = [this](std::int64_t step, std::int64_t update, at::Tensor& gradient) { return add_gradient(step, update, gradient); };
  if (critic_)
    made.second.emplace(critic_->second_model([this](std::int64_t step, std::int64_t update) { return mini_batch(step, update); }));
  made.progress = [](const Json& figures) { return figure_text(figures, "reward") + ", " + figure_text(figures, "kl"); };
  if (!data_.probe.rows.empty()) made.evaluate = [this] { return evaluate(); };
  made.state.numbers = shaping_.numbers();
  made.state.numbers.emplace_back("reward_unit", &reward_unit_);
  return made;
}

Json PolicyOptimisation::add_gradient(std::int64_t step, std::int64_t update, at::Tensor& gradient) {
  setup_.trainable->load_compute();
  if (update == 0) begin(step);
  const MiniBatch part = mini_batch(step, update);
  std::array<double, 3> sums = {};
  GradientSum sum(setup_.ranks, *setup_.trainable, gradient);
  tokens_ += pass_.backward(setup_.ranks, part.trees, step * objective_.updates() + update, sum,
                            [&](const Microbatch& batch) { return loss(batch, part, sums); });
  setup_.ranks.sum(sums);
  for (std::size_t i = 0; i < sums.size(); ++i) sums_[i] += sums[i];
  const auto done = static_cast<double>(update + 1);
  figures_.update(Json{{"loss", sums_[0] / done}, {"entropy", sums_[1] / done}, {"clip_share", sums_[2] / done}, {"tokens", tokens_}});
  return figures_;
}

at::Tensor PolicyOptimisation::loss(const Microbatch& batch, const MiniBatch& part, std::array<double, 3>& sums) {
  const TokenLogProbs values = batch.log_probs(setup_.policy(), options_.rollouts.temperature);
  const auto of_batch = [&](const at::Tensor& value_S) { return part.of_batch(batch, value_S, setup_.device()); };
  const PolicyLosses losses =
      policy_losses(values.log_prob_S, of_batch(experience_.old_log_prob_S), of_batch(experience_.advantage_S), objective_.cliprange);
  at::Tensor total = losses.loss_S.sum();
  if (objective_.algorithm == Algorithm::grpo)
    total =
        total + experience_.kl_coef * kl_estimates(values.log_prob_S, of_batch(experience_.reference_log_prob_S), KlEstimator::k3).sum();
  total = (total - objective_.entropy_coef * values.entropy_S.sum()) / part.tokens;
  sums[0] += total.item<double>();
  sums[1] += values.entropy_S.sum().item<double>() / part.tokens;
  sums[2] += losses.clipped_S.sum().item<double>() / part.tokens;
  return total;
}

// A part of the step's prompts, in an order of its own each pass.
MiniBatch PolicyOptimisation::mini_batch(std::int64_t step, std::int64_t update) const {
  const auto count = static_cast<std::int64_t>(experience_.trees.size()), parts = objective_.num_mini_batches;
  const std::int64_t pass = update / parts, index = update % parts;
  std::vector<std::int64_t> prompts(static_cast<std::size_t>(count));
  std::iota(prompts.begin(), prompts.end(), 0);
  if (parts > 1 && options_.training.shuffle)
    prompts = permutation(count, RandomStream(seed(), "mini-batches", static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(pass)));
  return make_mini_batch(experience_, {prompts.begin() + index * count / parts, prompts.begin() + (index + 1) * count / parts});
}

// Draws and weighs the responses of a step.
void PolicyOptimisation::begin(std::int64_t step) {
  const std::int64_t count = std::min(options_.training.batch_size, static_cast<std::int64_t>(data_.prompts.rows.size()));
  experience_ = {};
  Rollouts& rollouts = experience_.rollouts;
  rollouts = maker_.make(data_.prompts, order_.stream(step, count), derive_seed(seed(), "rollouts", static_cast<std::uint64_t>(step)));
  experience_.trees = make_trees(rollouts);
  experience_.kl_coef = shaping_.kl_coef();
  experience_.old_log_prob_S = to_tensor(rollouts.log_prob_S);
  experience_.reference_log_prob_S = reference_log_probs(experience_.trees);
  sums_ = {};
  tokens_ = 0;
  describe_step(step, count);
  add_advantages(shaping_.shape(rollouts));
  shaping_.adapt(figures_["kl"], rollouts.row_count());
  const std::int64_t every = options_.training.response_steps;
  if (every > 0 && (step + 1) % every == 0 && setup_.ranks.first()) save_responses(step + 1);
}

void PolicyOptimisation::save_responses(std::int64_t step) const {
  const std::filesystem::path folder = std::filesystem::path(options_.output) / "responses";
  std::filesystem::create_directories(folder);
  save_rollouts((folder / fmt::format("step-{}.jsonl", step)).string(), experience_.rollouts, data_.prompts);
}

at::Tensor PolicyOptimisation::reference_log_probs(std::span<const ResponseTree> trees) {
  return pass_.read_tokens(setup_.ranks, trees,
                           [&](const Microbatch& batch) { return batch.log_probs(reference_, options_.rollouts.temperature).log_prob_S; });
}

// What the responses of `where` show, their KL with it. Also where a run that has diverged ends.
Json PolicyOptimisation::measure(const Rollouts& rollouts, const at::Tensor& reference_log_prob_S, double unit,
                                 const std::string& where) const {
  Json figures = describe(rollouts, unit);
  const at::Tensor log_ratio_S = to_tensor(rollouts.log_prob_S) - reference_log_prob_S;
  const double kl = log_ratio_S.sum().item<double>() / static_cast<double>(rollouts.row_count());
  if (!std::isfinite(kl) || !std::isfinite(figures["reward"].get<double>()))
    fail_input("{}: expected finite rewards and log-probabilities, got others; lower --lr", where);
  if (objective_.max_kl > 0 && kl > objective_.max_kl)
    fail_input("{}: expected a KL of up to --max-kl {} a response, got {:.1f}; lower --lr or raise --kl-coef", where, objective_.max_kl,
               kl);
  figures["kl"] = kl;
  return figures;
}

void PolicyOptimisation::describe_step(std::int64_t step, std::int64_t prompts) {
  figures_ = measure(experience_.rollouts, experience_.reference_log_prob_S, 0, fmt::format("step {}", step + 1));
  if (reward_unit_ == 0) reward_unit_ = figures_["reward_deviation"].get<double>();
  figures_.update(Json{{"log_kl", std::log(figures_["kl"].get<double>())},  // left out where it is not finite
                       {"kl_coef", experience_.kl_coef},
                       {"prompts", prompts},
                       {"responses", experience_.rollouts.row_count()}});
}

// Of every response token; with a critic its values and targets too.
void PolicyOptimisation::add_advantages(const std::vector<float>& shaped) {
  const Rollouts& rollouts = experience_.rollouts;
  const at::Tensor penalty_S =
      experience_.kl_coef * kl_estimates(experience_.old_log_prob_S, experience_.reference_log_prob_S, objective_.kl_estimator);
  const at::Tensor reward_B = to_tensor(shaped);
  const auto gae = [&](const at::Tensor& value_S, double lambda) {
    const std::vector<std::int64_t> ends(rollouts.row_begin.begin() + 1, rollouts.row_begin.end());
    const at::Tensor reward_S = (-penalty_S).index_add(0, at::tensor(ends, at::kLong) - 1, reward_B);
    return gae_advantages(reward_S, value_S, rollouts.row_begin, objective_.gamma, lambda);
  };
  at::Tensor& made = experience_.advantage_S;
  switch (objective_.algorithm) {
    case Algorithm::rloo:
      made = spread(rloo_advantages((reward_B - sum_rows(penalty_S, rollouts.row_begin)).view({-1, rollouts.responses})));
      break;
    case Algorithm::grpo: made = spread(grpo_advantages(reward_B.view({-1, rollouts.responses}))); break;
    case Algorithm::reinforce: made = gae(at::zeros_like(penalty_S), 1); break;
    case Algorithm::ppo: {
      const at::Tensor value_S = critic_->values(experience_.trees);
      made = gae(value_S, options_.critic.lam);
      experience_.value_S = value_S;
      experience_.return_S = made + value_S;
      figures_.update(Json{{"value", value_S.mean().item<double>()},
                           {"return", experience_.return_S.mean().item<double>()},
                           {"explained_variance", explained_variance(value_S, experience_.return_S)}});
      break;
    }
  }
  if (objective_.whiten_advantages == Whitening::on) made = whiten(made);
}

// A response's advantage at each of its tokens.
at::Tensor PolicyOptimisation::spread(const at::Tensor& advantage_PK) const {
  const std::vector<std::int64_t>& begin = experience_.rollouts.row_begin;
  std::vector<std::int64_t> lengths;
  for (std::size_t row = 0; row + 1 < begin.size(); ++row) lengths.push_back(begin[row + 1] - begin[row]);
  return advantage_PK.reshape({-1}).repeat_interleave(at::tensor(lengths, at::kLong));
}

HeldOutFigures PolicyOptimisation::evaluate() {
  std::vector<std::int64_t> rows(data_.probe.rows.size());
  std::iota(rows.begin(), rows.end(), 0);
  const Rollouts rollouts = maker_.make(data_.probe, rows, derive_seed(seed(), "probe"));
  const Json found = measure(rollouts, reference_log_probs(make_trees(rollouts)), reward_unit_, "probe prompts");
  HeldOutFigures evaluation{Json::object(), found, fmt::format("{} on {} probe prompts", figure_text(found, "reward"), rows.size())};
  evaluation.summary["prompts"] = rows.size();
  for (const auto& [name, figure] : found.items()) evaluation.figures["eval_" + name] = figure;
  return evaluation;
}

}  // namespace metarm
