#include "metarm/rl/sft.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "metarm/model/response_text.h"
#include "metarm/rl/response_data.h"
#include "metarm/rl/response_pass.h"
#include "metarm/train/data_order.h"
#include "metarm/train/fingerprint.h"

namespace metarm {

namespace {

struct SftData {
  std::vector<EncodedResponse> responses, held_out;
};

SftData load_data(const SftOptions& options, const TrainingSetup& setup, Log& log) {
  Encoder encoder = setup.encoder(options.sequences.max_length);
  const std::vector<TokenId> end_tokens = list_end_tokens(*setup.tokenizer, setup.config());
  SftData data;
  data.responses = load_responses(options.data, "--data", encoder, end_tokens, options.sequences, log);
  const std::vector<std::string>& held_out = options.training.eval_data;
  if (!held_out.empty()) data.held_out = load_responses(held_out, "--eval-data", encoder, end_tokens, options.sequences, log);
  for (const std::string& note : encoder.report().notes()) log.info(note);
  return data;
}

std::int64_t count_tokens(std::span<const EncodedResponse> responses) {
  std::int64_t count = 0;
  for (const EncodedResponse& response : responses) count += response.length();
  return count;
}

// Each response is a tree of its own: a step's are of different prompts.
std::vector<ResponseTree> make_trees(std::span<const EncodedResponse> responses) {
  std::vector<ResponseTree> trees;
  for (const EncodedResponse& response : responses) trees.push_back(make_response_tree(std::span(&response, 1)));
  return trees;
}

class Sft {
 public:
  Sft(const SftOptions& options, TrainingSetup& setup, const SftData& data)
      : options_(options),
        setup_(setup),
        data_(data),
        pass_(make_response_pass(options.training, options.sequences, options.common)),
        order_(static_cast<std::int64_t>(data.responses.size()), static_cast<std::uint64_t>(options.common.seed), "responses",
               options.training.shuffle) {}

  Objective objective() {
    Objective made;
    made.name = "fine-tuning";
    made.rows = "responses";
    made.steps_per_epoch = order_.steps_per_epoch(options_.training.batch_size);
    made.add_gradient = [this](std::int64_t step, std::int64_t, at::Tensor& gradient) { return add_gradient(step, gradient); };
    made.progress = [](const Json& figures) { return figure_text(figures, "loss"); };
    if (!data_.held_out.empty()) made.evaluate = [this] { return evaluate(); };
    return made;
  }

 private:
  Json add_gradient(std::int64_t step, at::Tensor& gradient) {
    setup_.trainable->load_compute();
    std::vector<EncodedResponse> responses;
    for (const std::int64_t row : order_.batch(step, options_.training.batch_size))
      responses.push_back(data_.responses[static_cast<std::size_t>(row)]);
    const std::int64_t response_tokens = count_tokens(responses);
    const auto count = static_cast<double>(response_tokens);
    std::array<double, 2> sums = {0, 0};  // loss, entropy
    GradientSum sum(setup_.ranks, *setup_.trainable, gradient);
    const std::int64_t tokens = pass_.backward(setup_.ranks, make_trees(responses), step, sum, [&](const Microbatch& batch) {
      const TokenLogProbs values = batch.log_probs(setup_.policy());
      const at::Tensor loss = -values.log_prob_S.sum() / count;
      sums[0] += loss.item<double>();
      sums[1] += values.entropy_S.sum().item<double>() / count;
      return loss;
    });
    setup_.ranks.sum(sums);
    return {
        {"loss", sums[0]}, {"entropy", sums[1]}, {"responses", responses.size()}, {"response_tokens", response_tokens}, {"tokens", tokens}};
  }

  HeldOutFigures evaluate() {
    std::array<double, 1> loss = {0};
    pass_.forward(setup_.ranks, make_trees(data_.held_out),
                  [&](const Microbatch& batch) { loss[0] -= batch.log_probs(setup_.policy()).log_prob_S.sum().item<double>(); });
    setup_.ranks.sum(loss);
    const double mean = loss[0] / static_cast<double>(count_tokens(data_.held_out)), perplexity = std::exp(mean);
    return {{{"eval_loss", mean}, {"eval_perplexity", perplexity}},
            {{"responses", data_.held_out.size()}, {"loss", mean}, {"perplexity", perplexity}},
            fmt::format("loss {:.3f}, perplexity {:.2f} on {} held-out responses", mean, perplexity, data_.held_out.size())};
  }

  const SftOptions& options_;
  TrainingSetup& setup_;
  const SftData& data_;
  ResponsePass pass_;
  DataOrder order_;
};

}  // namespace

std::optional<TrainingSummary> train_sft(const SftOptions& given, const Parsed& parsed, Ranks& ranks, Log& log) {
  check_training_options("sft", given.training, parsed);
  SftOptions options = given;
  options.common = resolve_for_training(given.common);
  RunDirectory run(options.output, "sft", list_fields(options), options.training.resume, ranks.first());
  if (run.finished()) return std::nullopt;
  TrainingSetup setup(options.model, options.sequences, options.common, ranks);
  const SftData data = load_data(options, setup, log);
  setup.load_as_policy(options.training, log);
  run.expect_data({{"data", fingerprint(data.responses)}, {"eval_data", fingerprint(data.held_out)}});
  Sft sft(options, setup, data);
  return run_training(setup, sft.objective(), options.training, run, log);
}

}  // namespace metarm
