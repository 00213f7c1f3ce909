#include "metarm/model/open.h"

namespace metarm {

OpenRewardModel open_reward_model(const std::string& directory, const ScoringOptions& scoring, const CommonOptions& common, Log& log) {
  const at::Device device = resolve_device(common);
  LoadedRewardModel loaded = load_reward_model(directory, resolve_dtype(common, device, Work::scoring), device, MissingHead::fail, 0,
                                               scoring.fixed_pooling(), log);
  auto tokenizer = std::make_unique<Tokenizer>(Tokenizer::load(directory));
  std::optional<ChatTemplate> chat = ChatTemplate::load(directory, *tokenizer, scoring.chat_template);
  return {std::move(loaded), std::move(tokenizer), std::move(chat), scoring.max_length};
}

}  // namespace metarm
