#include "metarm/meta/alignment.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/meta/difference_step.h"
#include "metarm/meta/group_order.h"
#include "metarm/meta/importance.h"
#include "metarm/meta/meta_direction.h"
#include "metarm/meta/meta_pace.h"
#include "metarm/meta/shifted_groups.h"
#include "metarm/train/best_evaluation.h"
#include "metarm/train/consistency_step.h"
#include "metarm/train/data_order.h"
#include "metarm/train/fingerprint.h"
#include "metarm/train/pair_data.h"
#include "metarm/train/pairwise_step.h"

namespace metarm {

namespace {

double cosine(const Share& share, const at::Tensor& a, const at::Tensor& b) {
  const double lengths = share.length(a) * share.length(b), product = share.dot(a, b);
  return lengths > 0 ? product / lengths : 0;
}

struct AlignData {
  PairData pairs;
  ShiftedGroups shifted;        // without groups J is not measured
  SequenceGroups for_policies;  // the pairs' responses, for --method importance
};

class Alignment {
 public:
  Alignment(const AlignOptions& options, TrainingSetup& setup, const AlignData& data, ImportanceWeights importance)
      : options_(options),
        setup_(setup),
        pairs_(data.pairs),
        groups_(data.shifted.groups),
        importance_(std::move(importance)),
        pairwise_(make_pairwise_step(options.training, options.scoring, options.common)),
        consistency_(options.consistency, groups_, setup, options.training, options.scoring, options.common),
        difference_{setup, groups_, options.scoring.tokens_per_batch, options.training.gradient_checkpointing},
        share_(setup.share()),
        direction_(options.meta_scale, setup.trainable->master(), share_),
        pair_order_(static_cast<std::int64_t>(pairs_.pairs.size()), seed(), "pairs", options.training.shuffle),
        group_order_(data.shifted.modes, data.shifted.weights, options.meta_adapt > 0, seed(), options.training.shuffle),
        pace_(options, std::max<std::size_t>(group_order_.mode_names().size(), 1)) {}

  Objective objective() {
    Objective made = make_pair_objective("aligning", setup_, pairs_, pair_order_.steps_per_epoch(options_.training.batch_size),
                                         options_.scoring.tokens_per_batch);
    made.add_gradient = [this](std::int64_t step, std::int64_t, at::Tensor& gradient) { return add_gradient(step, gradient); };
    if (options_.method == Method::meta) made.state.tensors = direction_.state();
    made.state.numbers = pace_.numbers();
    if (options_.meta_backoff < 1) {
      std::ranges::copy(best_evaluation_.numbers("meta_backoff"), std::back_inserter(made.state.numbers));
      made.evaluate = [this, evaluate = made.evaluate] { return back_off(evaluate()); };
    }
    return made;
  }

 private:
  std::uint64_t seed() const { return static_cast<std::uint64_t>(options_.common.seed); }
  std::uint64_t rounding_seed(std::int64_t step) const { return derive_seed(seed(), "rounding", static_cast<std::uint64_t>(step)); }

  Json add_gradient(std::int64_t step, at::Tensor& gradient) {
    steps_ = step + 1;
    const std::vector<std::int64_t> pairs = pair_order_.batch(step, options_.training.batch_size);
    const MetaPace::Turn turn = pace_.turn(step);
    const std::vector<std::int64_t> groups = groups_of(turn);
    const bool is_meta_step = options_.method == Method::meta && turn.is_due;
    Json figures = is_meta_step ? add_meta(step, turn, pairs, groups, gradient) : add_plain(step, pairs, groups, gradient);
    figures.update(pace_.figures(turn));
    pace_.end(turn, figures.value("meta_cosine", std::numeric_limits<double>::quiet_NaN()));
    if (!groups.empty()) figures["groups"] = groups.size();
    figures["tokens"] = figures["tokens"].get<std::int64_t>() + difference_.token_count(groups);
    if (options_.method == Method::importance) figures.update(importance_.figures(pairs));
    return figures;
  }

  std::vector<std::int64_t> groups_of(const MetaPace::Turn& turn) {
    if (!turn.is_due) return {};
    return group_order_.batch(turn.order_step, std::min(options_.meta_batch_size, static_cast<std::int64_t>(groups_.size())));
  }

  // Not by an evaluation that only a run's end has: a longer run has none there.
  HeldOutFigures back_off(HeldOutFigures evaluation) {
    if (steps_ % options_.training.eval_steps != 0) return evaluation;
    best_evaluation_.add(1, evaluation.figures["eval_loss"].get<double>());
    if (best_evaluation_.since() > 0) pace_.back_off();
    return evaluation;
  }

  // What is descended wherever it is taken: the pairwise loss, and the consistency of responses where it is asked for.
  Json add_pairs(std::int64_t step, const std::vector<std::int64_t>& pairs, GradientSum& sum) {
    const ConsistencyFigures consistent = consistency_.backward(step);
    Json figures = to_json(pairwise_.backward(setup_, pairs_.pairs, pairs, step, sum));
    consistent.add_to(figures);
    return figures;
  }

  // All but meta steps: each gradient at θ.
  Json add_plain(std::int64_t step, const std::vector<std::int64_t>& pairs, const std::vector<std::int64_t>& groups, at::Tensor& gradient) {
    setup_.trainable->load_compute();
    GradientSum sum(setup_.ranks, *setup_.trainable, gradient);
    Json figures = Json::object();
    if (options_.method == Method::joint)
      figures["j_before"] = difference_.backward(groups, -options_.joint_weight);
    else if (!groups.empty())
      figures["j_before"] = difference_.value(groups);
    figures.update(add_pairs(step, pairs, sum));
    return figures;
  }

  Json add_meta(std::int64_t step, const MetaPace::Turn& turn, const std::vector<std::int64_t>& pairs,
                const std::vector<std::int64_t>& groups, at::Tensor& gradient) {
    Trainable& trainable = *setup_.trainable;
    trainable.load_compute(Rounding::stochastic, rounding_seed(step));
    at::Tensor j_gradient = at::zeros_like(gradient);
    const double j_before = difference_.gradient(groups, j_gradient);

    // From here on each rank has its part of ∇J, of D(∇J) and of ∇L; only the meta step needs a whole vector.
    const at::Tensor v = share_.own(j_gradient), own_gradient = share_.own(gradient);
    const MetaDirection::Direction direction = direction_.direction(v, turn.meta_steps);
    const double meta_lr = pace_.meta_lr(turn.mode), scale = meta_lr * direction.factor;
    const double kept = trainable.shift_compute(share_.whole(direction.vector), scale, Rounding::stochastic, rounding_seed(step));
    GradientSum sum(setup_.ranks, trainable, gradient);
    Json figures = add_pairs(step, pairs, sum);
    figures["j_before"] = j_before;
    figures["j_after"] = difference_.value(groups);
    figures["kept_share"] = kept;
    figures["meta_step_ratio"] = scale * share_.length(direction.vector) / share_.length(share_.own(trainable.master().flat()));
    figures["meta_cosine"] = cosine(share_, v, own_gradient);

    if (options_.meta_order == MetaOrder::second) {
      trainable.load_compute(Rounding::stochastic, rounding_seed(step));
      const at::Tensor vector = share_.whole(direction_.transposed_derivative(v, own_gradient, turn.meta_steps));
      own_gradient.add_(difference_.hessian_product(groups, vector), meta_lr);
    }
    direction_.advance(v);
    return figures;
  }

  const AlignOptions& options_;
  TrainingSetup& setup_;
  const PairData& pairs_;
  const std::vector<EncodedGroup>& groups_;
  const ImportanceWeights importance_;
  PairwiseStep pairwise_;
  ConsistencyStep consistency_;
  DifferenceStep difference_;
  const Share share_;
  MetaDirection direction_;
  DataOrder pair_order_;
  GroupOrder group_order_;
  MetaPace pace_;
  BestEvaluation best_evaluation_;
  std::int64_t steps_ = 0;  // with the one whose gradient was last taken
};

// Options of one method have no effect with another.
void check_options(const AlignOptions& options, const Parsed& parsed) {
  const auto expect_method = [&](Method method, std::initializer_list<const char*> names) {
    expect_choice("align", parsed, "method", options.method, method, names);
  };
  expect_method(Method::meta, {"meta-lr", "meta-scale", "meta-order", "meta-adapt", "meta-backoff", "meta-adapt-target"});
  expect_method(Method::joint, {"joint-weight"});
  expect_method(Method::importance, {"policy", "reference-policy", "importance-temperature"});
  expect_choice("align", parsed, "balance-by", options.balance_by, BalanceBy::clusters, {"clusters"});
  if (options.meta_adapt == 0 && options.meta_backoff == 1 && parsed.given.contains("meta-adapt-target"))
    fail_input("align: --meta-adapt-target: expected --meta-adapt or --meta-backoff with it, got neither; nothing moves so");
  if (options.meta_adapt_target == MetaAdaptTarget::meta_lr && parsed.given.contains("max-meta-interval"))
    fail_input("align: --max-meta-interval: expected --meta-adapt-target interval or both with it, got meta-lr; it has no effect so");
  if (options.balance_by == BalanceBy::round && options.recency_half_life > 0)
    fail_input(
        "align: --recency-half-life: expected it without --balance-by round, got both; equal parts for all rounds leave it without effect");
  if (options.method == Method::importance && options.policy.empty())
    fail_input("align: --method importance: expected --policy and --reference-policy, whose ratio weighs the pairs, got neither");
  if (options.consistency.consistency_coef > 0 && options.responses.empty())
    fail_input("align: --consistency-coef: expected --responses with it, got none");
  const bool steps_on_j = options.method == Method::meta || options.method == Method::joint;
  if (steps_on_j && options.responses.empty())
    fail_input("align: --responses: expected response groups for --method {}, got none", enum_name(options.method));
}

AlignData load_data(const AlignOptions& options, const TrainingSetup& setup, Log& log) {
  const std::vector<Pair> rows =
      read_training_rows(options.pairs, options.training, options.scoring, static_cast<std::uint64_t>(options.common.seed), log);
  AlignData data;
  data.pairs = load_pair_data(setup, rows, options.training, options.scoring, log);
  if (options.method == Method::importance) data.for_policies = encode_for_policies(options, rows, data.pairs.pairs, log);
  if (!options.responses.empty()) data.shifted = load_shifted_groups(options, setup, log);
  return data;
}

}  // namespace

std::optional<TrainingSummary> align_reward_model(const AlignOptions& given, const Parsed& parsed, Ranks& ranks, Log& log) {
  check_options(given, parsed);
  check_training_options("align", given.training, parsed);
  AlignOptions options = given;
  options.common = resolve_for_training(given.common);
  RunDirectory run(options.output, "align", list_fields(options), options.training.resume, ranks.first());
  if (run.finished()) return std::nullopt;
  TrainingSetup setup(options.model, options.scoring, options.common, ranks);
  AlignData data = load_data(options, setup, log);
  setup.load_as_reward_model(MissingHead::fail, options.method == Method::meta, options.training, options.scoring, log);
  if (options.training.lm_loss_weight > 0) setup.load_language_head();
  // Before the pairs are weighted: weights are computed, and may differ by rounding where a run goes on with another number of ranks.
  Json told = {{"pairs", fingerprint(data.pairs.pairs)},
               {"eval_pairs", fingerprint(data.pairs.held_out)},
               {"responses", fingerprint(data.shifted.groups)}};
  if (options.balance_by != BalanceBy::none || options.recency_half_life > 0)
    told["modes"] = fingerprint(data.shifted.modes, data.shifted.weights);
  run.expect_data(std::move(told));
  if (options.balance_by == BalanceBy::clusters) find_modes(data.shifted, options, setup, log);
  if (options.hard_groups < 1) keep_hardest(data.shifted, options, setup, log);
  ImportanceWeights importance;
  if (options.method == Method::importance) importance = weigh_pairs(options, std::move(data.for_policies), data.pairs.pairs, ranks, log);
  Alignment alignment(options, setup, data, std::move(importance));
  return run_training(setup, alignment.objective(), options.training, run, log);
}

}  // namespace metarm
