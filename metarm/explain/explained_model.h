// A reward model that explains rows: their rewards, the unit of these, and which tokens they come from.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/explain/explain_options.h"
#include "metarm/explain/gradient_index.h"
#include "metarm/explain/lora_gradients.h"
#include "metarm/explain/row_json.h"
#include "metarm/model/open.h"

namespace metarm {

class ExplainedModel {
 public:
  // Errors as open_reward_model.
  ExplainedModel(const std::string& directory, const ExplainOptions& options, Log& log);

  // The rows that fit; says what was left out.
  std::vector<ExplainRow> make_rows(const std::vector<Pair>& pairs, const std::vector<ResponseGroup>& groups) const;
  // Scores all rows, whose rewards the rest is about. The unit is that of the pairs' rewards, or without pairs of the groups'.
  void score(const std::vector<ExplainRow>& rows);

  const std::string& directory() const { return directory_; }
  const std::vector<std::vector<float>>& rewards() const { return rewards_; }  // a vector a row
  const RewardScale& scale() const { return scale_; }
  // Row `index` of those that were scored, with attributions where they are asked for.
  RowRewards explain(const ExplainRow& row, std::size_t index) const;
  std::vector<TokenPieces> pieces(const ExplainRow& row) const;

  // Of the rows' sequences, row after row: float32 [B, D].
  at::Tensor hidden(std::span<const ExplainRow* const> rows) const;
  // Of the pairs' losses. `weigh`: by the pairs' own margins and weights, as a training on them does. What they are made of is in memory
  // for some pairs at a time.
  PairGradients gradients(std::span<const ExplainRow* const> pairs, bool weigh);
  // What gradients(pairs, true) are of.
  GradientSource gradient_source(std::span<const ExplainRow* const> pairs) const;

 private:
  at::Tensor hidden(std::span<const ExplainRow* const> rows, std::size_t begin, std::size_t end) const;
  PairGradients lora_gradients(std::span<const ExplainRow* const> pairs, std::size_t begin, std::size_t end,
                               const std::vector<double>& margins, const std::vector<double>& weights) const;
  void load_adapter();

  std::string directory_;
  const ExplainOptions& options_;
  Log& log_;
  OpenRewardModel opened_;
  std::optional<LoraGradients> lora_;
  TokenId baseline_;
  AttributionOptions attribution_;
  std::vector<std::vector<float>> rewards_;
  RewardScale scale_;
};

}  // namespace metarm
