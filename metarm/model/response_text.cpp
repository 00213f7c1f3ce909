#include "metarm/model/response_text.h"

#include <algorithm>
#include <filesystem>

namespace metarm {

std::vector<TokenId> list_end_tokens(const Tokenizer& tokenizer, const CheckpointConfig& config) {
  std::vector<std::int64_t> ids = config.end_token_ids;
  const std::string generation = (std::filesystem::path(config.directory) / "generation_config.json").string();
  if (std::filesystem::exists(generation))
    for (const std::int64_t id : token_id_list(load_json(generation), "eos_token_id", generation)) ids.push_back(id);
  std::vector<TokenId> ends;
  if (tokenizer.special().eos) ends.push_back(*tokenizer.special().eos);
  for (const std::int64_t id : ids)
    if (id >= 0 && id < config.spec.vocab_size) ends.push_back(static_cast<TokenId>(id));
  return ends;
}

void drop_unchosen_end(TokenIds& tokens, std::int64_t begin, bool ended, std::span<const TokenId> end_tokens) {
  const auto stop = tokens.rend() - begin;
  const auto end = std::find_first_of(tokens.rbegin(), stop, end_tokens.begin(), end_tokens.end());
  if (end == stop) return;
  const std::int64_t with_end = end.base() - tokens.begin();
  tokens.resize(static_cast<std::size_t>(!ended && with_end - 1 > begin ? with_end - 1 : with_end));
}

std::string response_text(const Tokenizer& tokenizer, const TokenIds& prompt, const TokenIds& response) {
  TokenIds whole = prompt;
  whole.insert(whole.end(), response.begin(), response.end());
  const std::string before = tokenizer.decode(prompt, true), all = tokenizer.decode(whole, true);
  return all.starts_with(before) ? all.substr(before.size()) : tokenizer.decode(response, true);
}

}  // namespace metarm
