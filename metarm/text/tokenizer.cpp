#include "metarm/text/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <unordered_set>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/text/added_tokens.h"
#include "metarm/text/bpe.h"
#include "metarm/text/decoder.h"
#include "metarm/text/normalizer.h"
#include "metarm/text/post_processor.h"
#include "metarm/text/pre_tokenizer.h"

namespace metarm {

namespace fs = std::filesystem;

struct Tokenizer::Impl {
  Normalizer normalizer;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  PostProcessor post_processor;
  Decoder decoder;
  SpecialTokens special;
  std::vector<std::string> tokens;  // by id
  std::unordered_set<TokenId> special_ids;
  Vocabulary ids;  // of all tokens, added ones first

  void encode_plain(std::string_view text, bool first, TokenIds& out) const {
    const std::string normalized = normalizer.apply(text);
    for (const Section& section : added.find(normalized, true)) {
      if (section.token) {
        out.push_back(*section.token);
        continue;
      }
      for (const std::string& word :
           pre_tokenizer.apply(normalized.substr(section.begin, section.end - section.begin), first && section.begin == 0))
        bpe.encode(word, out);
    }
  }

  void add_token(TokenId id, const std::string& text) {
    if (static_cast<std::size_t>(id) >= tokens.size()) tokens.resize(static_cast<std::size_t>(id) + 1);
    tokens[static_cast<std::size_t>(id)] = text;
    ids[text] = id;
  }

  // The library numbers added tokens itself: those that the model lacks come after all others, in order.
  void add_tokens(const std::string& where) {
    for (const auto& [token, id] : bpe.vocabulary()) add_token(id, token);
    const auto size = static_cast<TokenId>(bpe.vocabulary().size());
    TokenId next = size;
    for (const AddedToken& token : added.tokens()) {
      const auto known = ids.find(token.content);
      const TokenId expected = known == ids.end() ? next : known->second;
      if (token.id != expected)
        fail_input("{}: added_tokens: {}: expected id {}, which the tokenizers library gives it, got {}", where, token.content, expected,
                   token.id);
      next = std::max(next, expected + 1);
      add_token(token.id, token.content);
      if (token.special) special_ids.insert(token.id);
    }
  }

  void check_post_processor(const std::string& where) const {
    for (const TokenIds* list : {&post_processor.before, &post_processor.after})
      for (const TokenId id : *list)
        if (static_cast<std::size_t>(id) >= tokens.size() || tokens[static_cast<std::size_t>(id)].empty())
          fail_input("{}: post_processor: expected ids of tokens, got {}, which is none", where, id);
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::parse(std::string_view tokenizer_json, const std::string& where) {
  const Json json = parse_json(tokenizer_json, where);
  if (!json.is_object()) fail_input("{}: expected an object, got {}", where, json_type_name(json));
  const auto part = [&](const char* name) { return json.contains(name) ? json[name] : Json(); };
  auto impl = std::make_unique<Impl>();
  try {
    impl->normalizer = Normalizer::parse(part("normalizer"), where);
    impl->added = AddedTokens::parse(part("added_tokens"), impl->normalizer, where);
    impl->pre_tokenizer = PreTokenizer::parse(part("pre_tokenizer"), where);
    impl->bpe = Bpe::parse(require_field(json, "model", where), where);
    impl->post_processor = PostProcessor::parse(part("post_processor"), where);
    impl->decoder = Decoder::parse(part("decoder"), where);
  } catch (const Json::exception& error) {  // a field of another type than its kind has
    fail_input("{}: expected a tokenizer.json, got {}", where, error.what());
  }
  impl->add_tokens(where);
  impl->check_post_processor(where);
  return Tokenizer(std::move(impl));
}

namespace {

// The text of a role's token: a string, or an object with its content.
std::optional<std::string> role_text(const Json& config, const char* role) {
  if (!config.contains(role)) return std::nullopt;
  const Json& value = config[role];
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) return value["content"].get<std::string>();
  return std::nullopt;
}

std::vector<Json> load_configs(const fs::path& directory) {
  std::vector<Json> configs;
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"})
    if (fs::exists(directory / name)) configs.push_back(load_json((directory / name).string()));
  return configs;
}

std::optional<TokenId> config_id(const Json& config, const char* field) {
  if (!config.is_object() || !config.contains(field)) return std::nullopt;
  const Json& value = config[field].is_array() && !config[field].empty() ? config[field][0] : config[field];
  return value.is_number_integer() ? std::optional(value.get<TokenId>()) : std::nullopt;
}

}  // namespace

Tokenizer Tokenizer::load(const std::string& directory) {
  const fs::path path = fs::path(directory) / "tokenizer.json";
  if (!fs::exists(path))
    fail_input("{}: expected tokenizer.json, got none; save the tokenizer as a fast one (save_pretrained does)", directory);
  Tokenizer tokenizer = parse(read_file(path.string()), path.string());
  const std::vector<Json> configs = load_configs(directory);
  const fs::path model = fs::path(directory) / "config.json";
  const Json model_config = fs::exists(model) ? load_json(model.string()) : Json();
  const auto find = [&](const char* role, const char* id_field) -> std::optional<TokenId> {
    for (const Json& config : configs)
      if (const auto text = role_text(config, role))
        if (const auto id = tokenizer.token_to_id(*text)) return id;
    return config_id(model_config, id_field);
  };
  const auto find_named = [&](const char* role, const char* id_field) {  // its text is needed, for templates and ends of texts
    const std::optional<TokenId> id = find(role, id_field);
    if (id && tokenizer.id_to_token(*id).empty())
      fail_input("{}: {}: expected the id of one of the tokenizer's {} tokens, got {}", model.string(), id_field, tokenizer.vocab_size(),
                 *id);
    return id;
  };
  tokenizer.impl_->special = {find_named("bos_token", "bos_token_id"), find_named("eos_token", "eos_token_id"),
                              find("pad_token", "pad_token_id"), find("unk_token", "unk_token_id")};
  return tokenizer;
}

TokenIds Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  if (!is_valid_utf8(text)) fail_input("text: expected valid UTF-8");
  TokenIds ids;
  if (add_special_tokens) ids = impl_->post_processor.before;
  for (const Section& section : impl_->added.find(text, false)) {
    if (section.token)
      ids.push_back(*section.token);
    else
      impl_->encode_plain(text.substr(section.begin, section.end - section.begin), section.begin == 0, ids);
  }
  if (add_special_tokens) ids.insert(ids.end(), impl_->post_processor.after.begin(), impl_->post_processor.after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (const TokenId id : ids) {
    const std::string_view token = id_to_token(id);
    if (!token.empty() && !(skip_special_tokens && is_special(id))) tokens.emplace_back(token);
  }
  return impl_->decoder.apply(std::move(tokens));
}

std::int64_t Tokenizer::vocab_size() const { return static_cast<std::int64_t>(impl_->tokens.size()); }

std::optional<TokenId> Tokenizer::token_to_id(std::string_view token) const {
  const auto found = impl_->ids.find(token);
  return found == impl_->ids.end() ? std::nullopt : std::optional(found->second);
}

std::string_view Tokenizer::id_to_token(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < impl_->tokens.size() ? std::string_view(impl_->tokens[static_cast<std::size_t>(id)])
                                                                        : std::string_view();
}

bool Tokenizer::is_special(TokenId id) const { return impl_->special_ids.contains(id); }
const SpecialTokens& Tokenizer::special() const { return impl_->special; }

std::optional<TokenId> Tokenizer::added_bos() const {
  const TokenIds& before = impl_->post_processor.before;
  return before.empty() ? std::nullopt : std::optional(before.front());
}

}  // namespace metarm
