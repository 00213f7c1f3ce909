#include "metarm/text/gguf_tokenizer.h"

#include "metarm/base/error.h"
#include "metarm/base/json_lines.h"
#include "metarm/text/gguf_vocabulary.h"

namespace metarm {

namespace {

constexpr const char* kSpace = "\u2581";  // SentencePiece's replacement for a space

// How text is cut up before byte-level merges.
enum class Cut {
  gpt2,    // contractions, words, numbers, other characters
  digits,  // the same after each digit was set apart
  llama3,  // up to three digits together
  qwen2,   // each digit alone
};
struct PreTokenizer {
  const char* name;  // as tokenizer.ggml.pre has it
  Cut cut;
  bool nfc;              // normalizes to NFC first
  bool whole_words;      // a word that is a token is taken as it is, without merging
  bool starts_with_bos;  // where the file does not say
};
constexpr PreTokenizer kPreTokenizers[] = {
    {"default", Cut::gpt2, false, false, false},   {"gpt-2", Cut::gpt2, false, false, false},
    {"smollm", Cut::digits, false, false, false},  {"starcoder", Cut::digits, false, false, false},
    {"llama-bpe", Cut::llama3, false, true, true}, {"qwen2", Cut::qwen2, true, false, false},
    {"olmo", Cut::gpt2, true, false, false},
};

const PreTokenizer& find_pre_tokenizer(const GgufFile& file) {
  constexpr const char* key = "tokenizer.ggml.pre";
  const std::string_view architecture = file.text("general.architecture").value_or("");
  if (architecture == "gptneox")
    return kPreTokenizers[std::size(kPreTokenizers) - 1];  // its files say "default"; OLMo took over its tokenizer
  // Files from before the key was introduced; only GPT-2's own are sure to be cut GPT-2's way.
  const std::string_view name = file.text(key).value_or(architecture == "gpt2" ? "gpt-2" : "none");
  std::string known;
  for (const PreTokenizer& row : kPreTokenizers) {
    if (row.name == name) return row;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  }
  fail_input("{}: {}: expected one of {}, got {}", file.where(), key, known, name);
}

Json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json split_by(const char* pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

Json sequence(const char* members, Json list) { return {{"type", "Sequence"}, {members, std::move(list)}}; }

Json byte_level_pre_tokenizer(Cut cut, bool add_prefix_space) {
  switch (cut) {
    case Cut::gpt2: return byte_level(add_prefix_space, true);
    case Cut::digits:
      return sequence("pretokenizers",
                      Json::array({{{"type", "Digits"}, {"individual_digits", true}}, byte_level(add_prefix_space, true)}));
    case Cut::llama3:
      return sequence(
          "pretokenizers",
          Json::array(
              {split_by(
                   R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
               byte_level(add_prefix_space, false)}));
    case Cut::qwen2:
      return sequence(
          "pretokenizers",
          Json::array(
              {split_by(
                   R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
               byte_level(add_prefix_space, false)}));
  }
  fail_internal("unknown pre-tokenizer");
}

Json bpe_model(const GgufVocabulary& vocabulary) {
  Json tokens = Json::object(), merges = Json::array();
  bool has_bytes = false;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!vocabulary.tokens[id].empty()) tokens[vocabulary.tokens[id]] = id;
    has_bytes = has_bytes || vocabulary.kinds[id] == GgufTokenKind::byte;
  }
  for (const auto& [left, right] : vocabulary.merges) merges.push_back({left, right});
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", !vocabulary.byte_level},
          {"byte_fallback", has_bytes},
          {"ignore_merges", false},
          {"vocab", std::move(tokens)},
          {"merges", std::move(merges)}};
}

void describe_byte_level(const GgufFile& file, const GgufVocabulary& vocabulary, Json& json) {
  const PreTokenizer& pre = find_pre_tokenizer(file);
  json["normalizer"] = pre.nfc ? Json{{"type", "NFC"}} : Json();
  json["pre_tokenizer"] = byte_level_pre_tokenizer(pre.cut, file.flag("tokenizer.ggml.add_space_prefix").value_or(false));
  json["decoder"] = byte_level(true, true);
  json["model"] = bpe_model(vocabulary);
  json["model"]["ignore_merges"] = pre.whole_words;
}

Json replace(const char* from, const char* to) { return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}}; }

void describe_sentencepiece(const GgufFile& file, const GgufVocabulary& vocabulary, Json& json) {
  const bool prefix = file.flag("tokenizer.ggml.add_space_prefix").value_or(!vocabulary.gemma);
  Json normalizers = Json::array(), decoders = Json::array({replace(kSpace, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (prefix) {
    normalizers.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  normalizers.push_back(replace(" ", kSpace));
  json["normalizer"] = sequence("normalizers", std::move(normalizers));
  json["pre_tokenizer"] = nullptr;
  json["decoder"] = sequence("decoders", std::move(decoders));
  json["model"] = bpe_model(vocabulary);
  if (vocabulary.unk) json["model"]["unk_token"] = vocabulary.tokens[static_cast<std::size_t>(*vocabulary.unk)];
}

bool is_special(const GgufVocabulary& vocabulary, std::size_t id) {
  const auto is = [id](const std::optional<std::int64_t>& role) { return role == static_cast<std::int64_t>(id); };
  return vocabulary.kinds[id] == GgufTokenKind::control || vocabulary.kinds[id] == GgufTokenKind::unknown || is(vocabulary.bos) ||
         is(vocabulary.eos) || is(vocabulary.pad) || is(vocabulary.unk);
}

// Gemma's runs of spaces are user-defined, but its merges build them from what normalization makes of a text.
bool is_respelled(const GgufVocabulary& vocabulary, const std::string& token) { return vocabulary.gemma && token.starts_with(kSpace); }

Json added_tokens(const GgufVocabulary& vocabulary) {
  Json added = Json::array();
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    const bool special = is_special(vocabulary, id);
    if (token.empty() || !(special || (vocabulary.kinds[id] == GgufTokenKind::user_defined && !is_respelled(vocabulary, token)))) continue;
    added.push_back({{"id", id},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", special}});
  }
  return added;
}

// Which of the start and end tokens every text gets.
struct Ends {
  bool bos, eos;
};
Ends find_ends(const GgufFile& file, const GgufVocabulary& vocabulary) {
  const bool by_default = vocabulary.byte_level ? find_pre_tokenizer(file).starts_with_bos : true;
  const auto wanted = [&](const char* key, const std::optional<std::int64_t>& id, bool otherwise) {
    const bool add = file.flag(key).value_or(otherwise && id.has_value());
    if (add && !id) fail_input("{}: {}: expected an id for the token to add, got none", file.where(), key);
    return add;
  };
  return {wanted("tokenizer.ggml.add_bos_token", vocabulary.bos, by_default),
          wanted("tokenizer.ggml.add_eos_token", vocabulary.eos, false)};
}

Json post_processor(const GgufVocabulary& vocabulary, Ends ends) {
  if (!ends.bos && !ends.eos) return nullptr;
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  const auto add_token = [&](std::int64_t id) {
    const std::string& text = vocabulary.tokens[static_cast<std::size_t>(id)];
    tokens[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
    return text;
  };
  for (const auto& [name, type] : {std::pair("A", 0), std::pair("B", 1)}) {
    Json part = Json::array();
    if (ends.bos) part.push_back({{"SpecialToken", {{"id", add_token(*vocabulary.bos)}, {"type_id", type}}}});
    part.push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
    if (ends.eos) part.push_back({{"SpecialToken", {{"id", add_token(*vocabulary.eos)}, {"type_id", type}}}});
    if (type == 0) single = part;
    pair.insert(pair.end(), part.begin(), part.end());
  }
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

Json special_tokens_map(const GgufVocabulary& vocabulary) {
  Json map = Json::object();
  const auto add = [&](const char* role, const std::optional<std::int64_t>& id) {
    if (id) map[role] = vocabulary.tokens[static_cast<std::size_t>(*id)];
  };
  add("bos_token", vocabulary.bos);
  add("eos_token", vocabulary.eos);
  add("pad_token", vocabulary.pad);
  add("unk_token", vocabulary.unk);
  return map;
}

Json tokenizer_config(const GgufFile& file, const Json& special, const Json& added) {
  Json config = special;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["clean_up_tokenization_spaces"] = false;
  Json decoder = Json::object();
  for (Json token : added) {
    const std::string id = token["id"].dump();
    token.erase("id");
    decoder[id] = std::move(token);
  }
  config["added_tokens_decoder"] = std::move(decoder);
  if (const auto architecture = file.text("general.architecture"))
    if (const auto length = file.integer(fmt::format("{}.context_length", *architecture))) config["model_max_length"] = *length;
  if (const auto text = file.text("tokenizer.chat_template")) {
    if (!is_valid_utf8(*text)) fail_input("{}: tokenizer.chat_template: expected UTF-8, got other bytes", file.where());
    config["chat_template"] = *text;
  }
  return config;
}

}  // namespace

TokenizerTexts make_tokenizer_texts(const GgufFile& file) {
  const GgufVocabulary vocabulary = load_gguf_vocabulary(file);
  const Json added = added_tokens(vocabulary), special = special_tokens_map(vocabulary);
  Json json = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", added}};
  if (vocabulary.byte_level)
    describe_byte_level(file, vocabulary, json);
  else
    describe_sentencepiece(file, vocabulary, json);
  json["post_processor"] = post_processor(vocabulary, find_ends(file, vocabulary));
  return {json.dump() + "\n", tokenizer_config(file, special, added).dump(2) + "\n", special.dump(2) + "\n"};
}

}  // namespace metarm
