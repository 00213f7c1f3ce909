#include "metarm/explain/explained_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "metarm/explain/difference_attribution.h"
#include "metarm/model/hidden_states.h"

namespace metarm {

namespace {

AttributionOptions attribution_options(const ExplainOptions& options) {
  AttributionOptions asked;
  asked.integrated = options.attribution == AttributionMethod::integrated;
  asked.tolerance = options.tolerance;
  if (options.points > 0) asked.first_points = asked.max_points = options.points;
  asked.tokens_per_batch = std::min(asked.tokens_per_batch, options.scoring.tokens_per_batch);
  return asked;
}

constexpr std::size_t kPairs = 256;  // whose hidden states are there at once, where their gradients alone are kept

std::function<void(std::int64_t)> show_progress(Log& log, std::string task, std::size_t total, std::size_t before = 0) {
  return [&log, task = std::move(task), total, before](std::int64_t done) {
    log.progress(task, static_cast<std::int64_t>(before) + done, static_cast<std::int64_t>(total), "");
  };
}

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
  if (options_.attribution == AttributionMethod::none) return made;
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

HeadGradients ExplainedModel::gradients(std::span<const ExplainRow* const> pairs, bool weigh) const {
  const at::Tensor& head = opened_.scorer.only("metarm explain").model.weights.at(Slot::score);
  const auto count = static_cast<std::int64_t>(pairs.size());
  HeadGradients all{at::empty({count, head.numel()}, at::kFloat), at::empty({count}, at::kDouble)};
  for (std::size_t begin = 0; begin < pairs.size(); begin += kPairs) {
    const std::size_t end = std::min(begin + kPairs, pairs.size());
    std::vector<double> margins, weights;
    for (const ExplainRow* pair : pairs.subspan(begin, end - begin)) {
      margins.push_back(weigh ? pair->json.value("margin", 0.0) : 0);
      weights.push_back(weigh ? pair->json.value("weight", 1.0) : 1);
    }
    const HeadGradients part = head_gradients(hidden(pairs, begin, end), head, margins, weights);
    const auto place = static_cast<std::int64_t>(begin), rows = static_cast<std::int64_t>(end - begin);
    all.direction_BD.narrow(0, place, rows).copy_(part.direction_BD);
    all.length_B.narrow(0, place, rows).copy_(part.length_B);
  }
  return all;
}

}  // namespace metarm
