#include "metarm/model/open.h"

#include <fmt/format.h>

#include <filesystem>

#include "metarm/model/ensemble_config.h"
#include "metarm/model/lora.h"
#include "metarm/model/same_texts.h"
#include "metarm/model/shared_weights.h"

namespace metarm {

std::string tokenizer_directory(const std::string& directory) {
  refuse_ensemble(directory);
  const bool has_own = std::filesystem::exists(std::filesystem::path(directory) / "tokenizer.json");
  return !has_own && is_adapter(directory) ? adapter_base(directory) : directory;
}

std::optional<ChatTemplate> load_chat_template(const std::string& directory, const Tokenizer& tokenizer, ChatFormat wanted) {
  std::optional<ChatTemplate> chat = ChatTemplate::load(directory, tokenizer, wanted);
  const std::string other = tokenizer_directory(directory);
  return chat || other == directory ? chat : ChatTemplate::load(other, tokenizer, wanted);
}

namespace {

// The members' models: adapters stay apart from their bases, and what whole ones have in common is held once, while they are loaded.
std::vector<LoadedRewardModel> load_members(const EnsembleConfig& config, at::ScalarType dtype, at::Device device,
                                            std::optional<Pooling> pooling, Log& log) {
  std::vector<AdapterBase> bases;
  std::vector<LoadedRewardModel> loaded;
  loaded.reserve(config.members.size());
  std::vector<Weights*> weights;
  for (const EnsembleConfig::Member& member : config.members) {
    const bool adapter = is_adapter(member.directory);
    loaded.push_back(adapter ? load_unmerged_adapter(member.directory, dtype, device, pooling, bases, log)
                             : load_reward_model(member.directory, dtype, device, MissingHead::fail, 0, pooling, log));
    check_same_texts(member.directory, config.members.front().directory);
    weights.push_back(&loaded.back().reward_model.model.weights);
    if (!adapter) hold_equal_tensors_once(weights);
  }
  return loaded;
}

Scorer make_ensemble(const EnsembleConfig& config, std::vector<LoadedRewardModel> loaded, Log& log) {
  std::vector<EnsembleMember> members;
  std::int64_t layers = 0;
  for (const LoadedRewardModel& one : loaded) layers += one.config.spec.layers;
  for (std::size_t i = 0; i < loaded.size(); ++i)
    members.push_back({std::move(loaded[i].reward_model), config.members[i].mean, config.members[i].deviation});
  Scorer scorer(std::move(members), config.aggregate, config.uncertainty_weight);
  log.info(fmt::format("ensemble of {}: {} layers a pass, of {} that its members have", loaded.size(), scorer.layers_a_pass(), layers));
  return scorer;
}

}  // namespace

OpenRewardModel open_reward_model(const std::string& directory, const ScoringOptions& scoring, const CommonOptions& common, Log& log) {
  const at::Device device = resolve_device(common);
  const at::ScalarType dtype = resolve_dtype(common, device, Work::scoring);
  const std::optional<Pooling> pooling = scoring.fixed_pooling();
  std::optional<EnsembleConfig> config;
  if (is_ensemble(directory)) config = load_ensemble_config(directory);
  std::vector<LoadedRewardModel> loaded;
  if (config)
    loaded = load_members(*config, dtype, device, pooling, log);
  else
    loaded.push_back(load_reward_model(directory, dtype, device, MissingHead::fail, 0, pooling, log));
  const std::string& texts = config ? config->members.front().directory : directory;
  auto tokenizer = std::make_unique<Tokenizer>(Tokenizer::load(tokenizer_directory(texts)));
  std::optional<ChatTemplate> chat = load_chat_template(texts, *tokenizer, scoring.chat_template);
  for (const LoadedRewardModel& one : loaded) warn_about_pad(one, *tokenizer, log);
  std::string label = reward_label(loaded.front().config);
  Scorer scorer = config ? make_ensemble(*config, std::move(loaded), log) : Scorer(std::move(loaded.front().reward_model));
  std::int64_t max_length = scoring.max_length;
  for (const EnsembleMember& member : scorer.members()) max_length = member.reward_model.model.spec.length_limit(max_length);
  return {std::move(scorer), std::move(tokenizer), std::move(chat), max_length, std::move(label)};
}

}  // namespace metarm
