#include "metarm/explain/explained_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "metarm/base/random.h"
#include "metarm/explain/difference_attribution.h"
#include "metarm/model/checkpoint_digest.h"
#include "metarm/model/hidden_states.h"
#include "metarm/model/lora.h"

namespace metarm {

namespace {

AttributionMethod method_of(AttributionChoice choice) {
  switch (choice) {
    case AttributionChoice::gradient_x_input: return AttributionMethod::gradient_x_input;
    case AttributionChoice::prefix: return AttributionMethod::prefix;
    case AttributionChoice::integrated:
    case AttributionChoice::none: break;
  }
  return AttributionMethod::integrated;
}

AttributionOptions attribution_options(const ExplainOptions& options) {
  AttributionOptions asked;
  asked.method = method_of(options.attribution);
  asked.tolerance = options.tolerance;
  asked.points = options.points;
  asked.tokens_per_batch = std::min(asked.tokens_per_batch, options.scoring.tokens_per_batch);
  return asked;
}

// What gradients are made of is there for some pairs at once: so many, and so many numbers.
constexpr std::size_t kPairs = 256, kNumbers = 1 << 24;

std::function<void(std::int64_t)> show_progress(Log& log, std::string task, std::size_t total, std::size_t before = 0) {
  return [&log, task = std::move(task), total, before](std::int64_t done) {
    log.progress(task, static_cast<std::int64_t>(before) + done, static_cast<std::int64_t>(total), "");
  };
}

double margin_of(const ExplainRow& pair) { return pair.json.value("margin", 0.0); }
double weight_of(const ExplainRow& pair) { return pair.json.value("weight", 1.0); }

}  // namespace

ExplainedModel::ExplainedModel(const std::string& directory, const ExplainOptions& options, Log& log)
    : directory_(directory),
      options_(options),
      log_(log),
      opened_(open_reward_model(directory, options.scoring, options.common, log)),
      baseline_(baseline_token(opened_.scorer.only("metarm explain"), *opened_.tokenizer)),
      attribution_(attribution_options(options)) {}

std::vector<ExplainRow> ExplainedModel::make_rows(const std::vector<Pair>& pairs, const std::vector<ResponseGroup>& groups) const {
  Encoder encoder = opened_.encoder();
  std::vector<ExplainRow> rows = make_explain_rows(pairs, groups, encoder);
  std::size_t left_out = 0;
  for (const ResponseGroup& group : groups) left_out += group.responses.size();
  for (const ExplainRow& row : rows) left_out -= row.is_pair ? 0 : row.sequences.size();
  if (left_out > 0) log_.warn(fmt::format("{} responses of groups left out: each alone is longer than --max-length", left_out));
  for (const std::string& note : encoder.report().notes()) log_.info(note);
  return rows;
}

void ExplainedModel::score(const std::vector<ExplainRow>& rows) {
  std::vector<std::vector<TokenIds>> groups;
  for (const ExplainRow& row : rows) groups.push_back(row.sequences);
  rewards_ = score_groups(opened_.scorer.only("metarm explain"), groups, options_.scoring.tokens_per_batch,
                          show_progress(log_, fmt::format("scoring by {}", directory_), rows.size()));
  std::vector<std::vector<float>> unit;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].is_pair || !rows[0].is_pair) unit.push_back(rewards_[i]);
  scale_ = reward_scale(unit);
}

RowRewards ExplainedModel::explain(const ExplainRow& row, std::size_t index) const {
  RowRewards made{rewards_[index], {}, scale_};
  if (options_.attribution == AttributionChoice::none) return made;
  const RewardModel& model = opened_.scorer.only("metarm explain");
  if (row.is_pair) {
    made.attributions = attribute_pair(model, row.sequences[0], row.sequences[1], baseline_, attribution_);
  } else {
    for (const TokenIds& tokens : row.sequences) made.attributions.push_back(attribute_reward(model, tokens, baseline_, attribution_));
  }
  return made;
}

std::vector<TokenPieces> ExplainedModel::pieces(const ExplainRow& row) const {
  std::vector<TokenPieces> pieces;
  for (const TokenIds& tokens : row.sequences) pieces.push_back(token_pieces(*opened_.tokenizer, tokens));
  return pieces;
}

at::Tensor ExplainedModel::hidden(std::span<const ExplainRow* const> rows) const { return hidden(rows, 0, rows.size()); }

at::Tensor ExplainedModel::hidden(std::span<const ExplainRow* const> rows, std::size_t begin, std::size_t end) const {
  std::vector<std::vector<TokenIds>> groups;
  for (const ExplainRow* row : rows.subspan(begin, end - begin)) groups.push_back(row->sequences);
  return hidden_states(opened_.scorer.only("metarm explain"), groups, options_.scoring.tokens_per_batch,
                       show_progress(log_, "hidden states", rows.size(), begin));
}

PairGradients ExplainedModel::gradients(std::span<const ExplainRow* const> pairs, bool weigh) {
  if (options_.influence_weights == InfluenceWeights::lora && !lora_) load_adapter();
  const at::Tensor& head = opened_.scorer.only("metarm explain").model.weights.at(Slot::score);
  const std::int64_t width = lora_ ? lora_->width() : head.numel();
  const auto count = static_cast<std::int64_t>(pairs.size());
  const std::size_t at_once = std::clamp(kNumbers / static_cast<std::size_t>(width), std::size_t{1}, kPairs);
  PairGradients all{at::empty({count, width}, at::kFloat), at::empty({count}, at::kDouble)};
  for (std::size_t begin = 0; begin < pairs.size(); begin += at_once) {
    const std::size_t end = std::min(begin + at_once, pairs.size());
    std::vector<double> margins, weights;
    for (const ExplainRow* pair : pairs.subspan(begin, end - begin)) {
      margins.push_back(weigh ? margin_of(*pair) : 0);
      weights.push_back(weigh ? weight_of(*pair) : 1);
    }
    const PairGradients part =
        lora_ ? lora_gradients(pairs, begin, end, margins, weights) : head_gradients(hidden(pairs, begin, end), head, margins, weights);
    const auto place = static_cast<std::int64_t>(begin), rows = static_cast<std::int64_t>(end - begin);
    all.direction_BD.narrow(0, place, rows).copy_(part.direction_BD);
    all.length_B.narrow(0, place, rows).copy_(part.length_B);
  }
  return all;
}

PairGradients ExplainedModel::lora_gradients(std::span<const ExplainRow* const> pairs, std::size_t begin, std::size_t end,
                                             const std::vector<double>& margins, const std::vector<double>& weights) const {
  const auto rows = static_cast<std::int64_t>(end - begin);
  at::Tensor slope_BD = at::empty({rows, lora_->width()}, at::kDouble), difference_B = at::empty({rows}, at::kDouble);
  const std::function<void(std::int64_t)> progress = show_progress(log_, "gradients", pairs.size(), begin);
  for (std::int64_t row = 0; row < rows; ++row) {
    const LoraGradients::Slope slope = lora_->slope(pairs[begin + static_cast<std::size_t>(row)]->sequences);
    std::ranges::copy(slope.gradient, slope_BD[row].mutable_data_ptr<double>());
    difference_B[row] = slope.difference;
    progress(row + 1);
  }
  return pair_gradients(slope_BD, difference_B, margins, weights);
}

void ExplainedModel::load_adapter() {
  const at::Device device = resolve_device(options_.common);
  std::vector<AdapterBase> bases;
  LoadedRewardModel loaded = load_unmerged_adapter(directory_, resolve_dtype(options_.common, device, Work::scoring), device,
                                                   options_.scoring.fixed_pooling(), bases, log_);
  lora_.emplace(std::move(loaded.reward_model), options_.projection, static_cast<std::uint64_t>(options_.common.seed));
}

GradientSource ExplainedModel::gradient_source(std::span<const ExplainRow* const> pairs) const {
  GradientSource source;
  source.model = digest_checkpoint(directory_);
  std::uint64_t digest = 1;
  for (const ExplainRow* pair : pairs) {
    for (const TokenIds& tokens : pair->sequences) digest = mix64(digest ^ digest_bytes(std::as_bytes(std::span(tokens))));
    const double numbers[] = {margin_of(*pair), weight_of(*pair)};
    digest = mix64(digest ^ digest_bytes(std::as_bytes(std::span(numbers))));
  }
  source.pairs = fmt::format("{:016x}", digest);
  const RewardModel& model = opened_.scorer.only("metarm explain");
  source.weights = options_.influence_weights == InfluenceWeights::head ? "the reward head"
                   : options_.projection == 0
                       ? "the LoRA matrices, whole"
                       : fmt::format("the LoRA matrices, projected to {} by seed {}", options_.projection, options_.common.seed);
  source.weights += fmt::format(", in {}{}", c10::toString(model.model.weights.at(Slot::score).scalar_type()),
                                model.pooling == Pooling::last ? ", of the last token" : "");
  return source;
}

}  // namespace metarm
