// Tokenizers as Hugging Face's `tokenizer.json` describes them: normalizer, added tokens, pre-tokenizer, BPE model, post-processor,
// decoder. Ids equal those of the `tokenizers` library, exactly. Thread-safe once loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace metarm {

using TokenId = std::int32_t;
using TokenIds = std::vector<TokenId>;

// Tokens with a role, from tokenizer_config.json, special_tokens_map.json and config.json (in that order of trust for the text; absent:
// nullopt).
struct SpecialTokens {
  std::optional<TokenId> bos, eos, pad, unk;
};

class Tokenizer {
 public:
  // From a checkpoint directory: tokenizer.json, tokenizer_config.json, special_tokens_map.json. Input error when tokenizer.json is
  // missing, malformed or uses a kind that is not supported (the message lists those that are).
  static Tokenizer load(const std::string& directory);
  // From the text of a tokenizer.json alone; `where` names it in errors.
  static Tokenizer parse(std::string_view tokenizer_json, const std::string& where);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // add_special_tokens: whether the post-processor adds its start and end tokens. `text` must be valid UTF-8 (input error).
  TokenIds encode(std::string_view text, bool add_special_tokens) const;
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const;

  std::int64_t vocab_size() const;  // one more than the largest id, added tokens included
  std::optional<TokenId> token_to_id(std::string_view token) const;
  std::string_view id_to_token(TokenId id) const;  // empty for an unused id
  bool is_special(TokenId id) const;               // an added token marked special
  const SpecialTokens& special() const;
  // The start token that the post-processor puts in front of a single text, if it does.
  std::optional<TokenId> added_bos() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace metarm
