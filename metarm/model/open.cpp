#include "metarm/model/open.h"

namespace metarm {

OpenRewardModel open_reward_model(const std::string& directory, const ScoringOptions& scoring, const CommonOptions& common, Log& log) {
  const at::Device device = resolve_device(common);
  LoadedRewardModel loaded = load_reward_model(directory, resolve_dtype(common, device, Work::scoring), device, MissingHead::fail, 0, scoring.fixed_pooling(), log);
  return {std::move(loaded), std::make_unique<Tokenizer>(Tokenizer::load(directory)), ChatTemplate::load(directory, scoring.chat_template), scoring.max_length};
}

}  // namespace metarm
