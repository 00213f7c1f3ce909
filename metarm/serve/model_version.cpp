#include "metarm/serve/model_version.h"

#include <cmath>

#include "metarm/base/error.h"
#include "metarm/base/wall_clock.h"
#include "metarm/model/attribution.h"
#include "metarm/model/checkpoint_digest.h"
#include "metarm/model/torch_errors.h"

namespace metarm {

namespace {

void check_ids(const TokenIds& ids, std::int64_t vocab_size, const std::string& where) {
  if (ids.empty()) fail_input("{}: expected some tokens, got none", where);
  for (const TokenId id : ids)
    if (id < 0 || id >= vocab_size) fail_input("{}: expected token ids below {}, got {}", where, vocab_size, id);
}

}  // namespace

ModelVersion::ModelVersion(const std::string& directory, const ScoringOptions& scoring, const CommonOptions& common, Log& log,
                           const AffineMap& map)
    : opened_(open_reward_model(directory, scoring, common, log)),
      tokens_per_batch_(scoring.tokens_per_batch),
      id_(digest_checkpoint(directory)),
      map_(map),
      loaded_at_s_(static_cast<std::int64_t>(seconds_since_1970())) {}

std::string ModelVersion::start_token() const {
  const std::optional<TokenId> id = opened_.tokenizer->special().bos;
  return id ? std::string(opened_.tokenizer->id_to_token(*id)) : "";
}

std::optional<TokenIds> ModelVersion::tokens(const ScoreItem& item, bool* shortened) const {
  Encoder encoder = opened_.encoder();
  if (const auto* ids = std::get_if<TokenIds>(&item.text)) {
    check_ids(*ids, opened_.scorer.vocab_size(), item.where);
    return max_length() > 0 && static_cast<std::int64_t>(ids->size()) > max_length() ? std::nullopt : std::optional(*ids);
  }
  std::optional<TokenIds> sequence = encoder.sequence(item.prompt, std::get<Content>(item.text), item.where, item.form);
  if (sequence) check_ids(*sequence, opened_.scorer.vocab_size(), item.where);
  if (shortened != nullptr) *shortened = encoder.report().truncated > 0;
  return sequence;
}

GroupRewards ModelVersion::score(std::span<const std::vector<TokenIds>> groups) const {
  GroupRewards scored = with_torch_errors([&] { return opened_.scorer.score(groups, tokens_per_batch_); });
  for (std::vector<float>& group : scored.rewards)
    for (float& reward : group) reward = static_cast<float>(map_(reward));
  for (std::vector<float>& group : scored.deviations)
    for (float& deviation : group) deviation *= static_cast<float>(std::abs(map_.scale));
  return scored;
}

ItemAttribution ModelVersion::attribute(const TokenIds& tokens) const {
  const RewardModel& model = opened_.scorer.only("attributions");
  const Attribution found = with_torch_errors([&] { return attribute_by_prefixes(model, tokens); });
  ItemAttribution attribution{{}, map_(found.baseline_reward)};
  for (std::size_t i = 0; i < tokens.size(); ++i)
    attribution.tokens.push_back({opened_.tokenizer->decode(std::span(&tokens[i], 1), false), map_.scale * found.values[i]});
  return attribution;
}

}  // namespace metarm
