#include "metarm/model/open.h"

#include <filesystem>

#include "metarm/model/lora.h"

namespace metarm {

std::string tokenizer_directory(const std::string& directory) {
  const bool has_own = std::filesystem::exists(std::filesystem::path(directory) / "tokenizer.json");
  return !has_own && is_adapter(directory) ? adapter_base(directory) : directory;
}

std::optional<ChatTemplate> load_chat_template(const std::string& directory, const Tokenizer& tokenizer, ChatFormat wanted) {
  std::optional<ChatTemplate> chat = ChatTemplate::load(directory, tokenizer, wanted);
  const std::string other = tokenizer_directory(directory);
  return chat || other == directory ? chat : ChatTemplate::load(other, tokenizer, wanted);
}

OpenRewardModel open_reward_model(const std::string& directory, const ScoringOptions& scoring, const CommonOptions& common, Log& log) {
  const at::Device device = resolve_device(common);
  LoadedRewardModel loaded = load_reward_model(directory, resolve_dtype(common, device, Work::scoring), device, MissingHead::fail, 0,
                                               scoring.fixed_pooling(), log);
  auto tokenizer = std::make_unique<Tokenizer>(Tokenizer::load(tokenizer_directory(directory)));
  std::optional<ChatTemplate> chat = load_chat_template(directory, *tokenizer, scoring.chat_template);
  warn_about_pad(loaded, *tokenizer, log);
  return {std::move(loaded), std::move(tokenizer), std::move(chat), scoring.max_length};
}

}  // namespace metarm
