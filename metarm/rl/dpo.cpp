#include "metarm/rl/dpo.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <utility>

#include "metarm/objectives/implicit_reward.h"
#include "metarm/objectives/pairwise_loss.h"
#include "metarm/rl/reference_policy.h"
#include "metarm/rl/response_pass.h"
#include "metarm/train/data_order.h"
#include "metarm/train/fingerprint.h"
#include "metarm/train/pair_data.h"

namespace metarm {

namespace {

// What the reference thinks of a pair's responses.
struct ReferenceLogProbs {
  float chosen, rejected;
};

struct DpoData {
  std::vector<EncodedResponsePair> pairs, held_out;
  std::vector<ReferenceLogProbs> of_pairs, of_held_out;
};

DpoData load_data(const DpoOptions& options, const TrainingSetup& setup, Log& log) {
  Encoder encoder = setup.encoder(options.sequences.max_length);
  DpoData data;
  data.pairs = load_pairs(options.pairs, "--pairs", encoder, &Encoder::response_pairs, options.sequences, log);
  const std::vector<std::string>& held_out = options.training.eval_pairs;
  if (!held_out.empty()) data.held_out = load_pairs(held_out, "--eval-pairs", encoder, &Encoder::response_pairs, options.sequences, log);
  for (const std::string& note : encoder.report().notes()) log.info(note);
  return data;
}

ResponseTree make_tree(const EncodedResponsePair& pair) { return make_response_tree(std::array{pair.chosen, pair.rejected}); }

// log pi of each pair's two responses, on all ranks.
std::vector<ReferenceLogProbs> log_probs(const Model& policy, const ResponsePass& pass, std::span<const EncodedResponsePair> pairs,
                                         Ranks& ranks, const std::function<void(std::int64_t)>& progress = {}) {
  std::vector<ResponseTree> trees;
  for (const EncodedResponsePair& pair : pairs) trees.push_back(make_tree(pair));
  std::vector<double> sums(2 * pairs.size(), 0.0);  // each comes from one rank, the others add 0
  const auto visit = [&](const Microbatch& batch) {
    const at::Tensor sum_B = sum_rows(batch.log_probs(policy).log_prob_S, batch.tokens.row_begin).cpu();
    const float* next = sum_B.const_data_ptr<float>();
    for (const std::size_t place : batch.places)
      for (std::size_t side = 0; side < 2; ++side) sums[2 * place + side] = *next++;
  };
  pass.forward(ranks, trees, visit, progress);
  ranks.sum(sums);
  std::vector<ReferenceLogProbs> made;
  for (std::size_t i = 0; i < pairs.size(); ++i) made.push_back({static_cast<float>(sums[2 * i]), static_cast<float>(sums[2 * i + 1])});
  return made;
}

class Dpo {
 public:
  Dpo(const DpoOptions& options, TrainingSetup& setup, DpoData data, Log& log)
      : options_(options),
        setup_(setup),
        data_(std::move(data)),
        pass_(make_response_pass(options.training, options.sequences, options.common)),
        order_(static_cast<std::int64_t>(data_.pairs.size()), static_cast<std::uint64_t>(options.common.seed), "pairs",
               options.training.shuffle) {
    const Model reference = load_reference_policy(setup, options.reference, ReferenceUse::before_training, log);
    const auto total = static_cast<std::int64_t>(data_.pairs.size() + data_.held_out.size());
    const auto show = [&](std::int64_t before) {
      return [&log, total, before](std::int64_t done) { log.progress("reference", before + done, total, "pairs"); };
    };
    data_.of_pairs = log_probs(reference, pass_, data_.pairs, setup.ranks, show(0));
    data_.of_held_out = log_probs(reference, pass_, data_.held_out, setup.ranks, show(static_cast<std::int64_t>(data_.pairs.size())));
  }

  Objective objective() {
    Objective made;
    made.name = "optimising";
    made.steps_per_epoch = order_.steps_per_epoch(options_.training.batch_size);
    made.add_gradient = [this](std::int64_t step, std::int64_t, at::Tensor& gradient) { return add_gradient(step, gradient); };
    made.progress = [](const Json& figures) { return figure_text(figures, "loss") + ", " + figure_text(figures, "accuracy"); };
    if (!data_.held_out.empty()) made.evaluate = [this] { return evaluate(); };
    return made;
  }

 private:
  // Columns of the pairs of a microbatch, float32 [P].
  struct Columns {
    at::Tensor margin, weight, chosen, rejected;
  };
  Columns columns(std::span<const std::int64_t> rows, std::span<const std::size_t> places) const {
    std::array<std::vector<float>, 4> values;
    for (const std::size_t place : places) {
      const auto row = static_cast<std::size_t>(rows[place]);
      values[0].push_back(static_cast<float>(data_.pairs[row].margin));
      values[1].push_back(static_cast<float>(data_.pairs[row].weight));
      values[2].push_back(data_.of_pairs[row].chosen);
      values[3].push_back(data_.of_pairs[row].rejected);
    }
    const auto column = [&](std::size_t i) { return at::tensor(values[i], at::kFloat).to(setup_.device()); };
    return {column(0), column(1), column(2), column(3)};
  }

  Json add_gradient(std::int64_t step, at::Tensor& gradient) {
    setup_.trainable->load_compute();
    const std::vector<std::int64_t> rows = order_.batch(step, options_.training.batch_size);
    std::vector<ResponseTree> trees;
    for (const std::int64_t row : rows) trees.push_back(make_tree(data_.pairs[static_cast<std::size_t>(row)]));
    const auto count = static_cast<double>(rows.size());
    std::array<double, 4> means = {};  // loss, accuracy, rewards of the chosen and of the rejected
    GradientSum sum(setup_.ranks, *setup_.trainable, gradient);
    const std::int64_t tokens = pass_.backward(setup_.ranks, trees, step, sum, [&](const Microbatch& batch) {
      const Columns of = columns(rows, batch.places);
      const at::Tensor log_prob_P2 = sum_rows(batch.log_probs(setup_.policy()).log_prob_S, batch.tokens.row_begin).view({-1, 2});
      const at::Tensor chosen_P = implicit_rewards(log_prob_P2.select(1, 0), of.chosen, options_.training.beta);
      const at::Tensor rejected_P = implicit_rewards(log_prob_P2.select(1, 1), of.rejected, options_.training.beta);
      const at::Tensor loss =
          pairwise_losses(chosen_P, rejected_P, {of.margin, of.weight}, {options_.training.label_smoothing, 0}).sum() / count;
      means[0] += loss.item<double>();
      means[1] += chosen_P.gt(rejected_P).sum().item<double>() / count;
      means[2] += chosen_P.sum().item<double>() / count;
      means[3] += rejected_P.sum().item<double>() / count;
      return loss;
    });
    setup_.ranks.sum(means);
    const auto [loss, accuracy, chosen, rejected] = means;
    return {{"loss", loss},
            {"accuracy", accuracy},
            {"margin", chosen - rejected},
            {"chosen_reward", chosen},
            {"rejected_reward", rejected},
            {"log_ratio", (chosen + rejected) / (2 * options_.training.beta)},
            {"pairs", rows.size()},
            {"tokens", tokens}};
  }

  HeldOutFigures evaluate() {
    const std::vector<ReferenceLogProbs> now = log_probs(setup_.policy(), pass_, data_.held_out, setup_.ranks);
    const auto beta = static_cast<float>(options_.training.beta);
    std::vector<PairRewards> rewards;
    for (std::size_t i = 0; i < now.size(); ++i)
      rewards.push_back({beta * (now[i].chosen - data_.of_held_out[i].chosen), beta * (now[i].rejected - data_.of_held_out[i].rejected)});
    return to_held_out_figures(pair_statistics(rewards));
  }

  const DpoOptions& options_;
  TrainingSetup& setup_;
  DpoData data_;
  ResponsePass pass_;
  DataOrder order_;
};

}  // namespace

std::optional<TrainingSummary> train_dpo(const DpoOptions& given, const Parsed& parsed, Ranks& ranks, Log& log) {
  check_training_options("dpo", given.training, parsed);
  DpoOptions options = given;
  options.common = resolve_for_training(given.common);
  RunDirectory run(options.output, "dpo", list_fields(options), options.training.resume, ranks.first());
  if (run.finished()) return std::nullopt;
  TrainingSetup setup(options.model, options.sequences, options.common, ranks);
  DpoData data = load_data(options, setup, log);
  setup.load_as_policy(options.training, log);
  run.expect_data({{"pairs", fingerprint(data.pairs)}, {"eval_pairs", fingerprint(data.held_out)}});
  Dpo dpo(options, setup, std::move(data), log);
  return run_training(setup, dpo.objective(), options.training, run, log);
}

}  // namespace metarm
