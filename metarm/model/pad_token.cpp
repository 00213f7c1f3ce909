#include "metarm/model/pad_token.h"

#include <algorithm>
#include <filesystem>

#include "metarm/base/file.h"
#include "metarm/base/json_lines.h"

namespace metarm {

namespace fs = std::filesystem;

PadToken choose_pad_token(const Tokenizer& tokenizer, std::span<const std::int64_t> end_tokens) {
  const SpecialTokens& special = tokenizer.special();
  const auto usable = [&](std::optional<TokenId> id) {
    return id && id != special.eos && id != special.bos && std::ranges::find(end_tokens, *id) == end_tokens.end();
  };
  if (usable(special.pad)) return {*special.pad, std::string(tokenizer.id_to_token(*special.pad)), false};
  for (const char* text : {"<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]", "<|endoftext|>", "<|padding|>",
                           "<|reserved_special_token_0|>", "<unk>"}) {
    const std::optional<TokenId> id = tokenizer.token_to_id(text);
    if (usable(id) && tokenizer.is_special(*id)) return {*id, text, false};
  }
  return {tokenizer.vocab_size(), "<|pad|>", true};
}

namespace {

constexpr const char* kTokenizerFiles[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt",     "tokenizer.model",       "chat_template.jinja",     "chat_template.json"};

void set_pad_in_tokenizer(Json& json, const PadToken& pad) {
  if (!pad.added) return;
  json["added_tokens"].push_back({{"id", pad.id},
                                  {"content", pad.text},
                                  {"single_word", false},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", true}});
}

void set_pad_in_config(Json& json, const PadToken& pad) {
  json["pad_token"] = pad.text;
  if (pad.added && json.contains("added_tokens_decoder") && json["added_tokens_decoder"].is_object())
    json["added_tokens_decoder"][std::to_string(pad.id)] = {{"content", pad.text}, {"lstrip", false},      {"normalized", false},
                                                            {"rstrip", false},     {"single_word", false}, {"special", true}};
}

void copy_with_pad(const fs::path& from, const fs::path& to, const PadToken& pad) {
  Json json = load_json(from.string());
  if (from.filename() == "tokenizer.json")
    set_pad_in_tokenizer(json, pad);
  else
    set_pad_in_config(json, pad);
  write_file(to.string(), json.dump(2) + "\n");
}

}  // namespace

void copy_tokenizer_files(const std::string& from, const std::string& to, const std::optional<PadToken>& pad) {
  for (const std::string name : kTokenizerFiles) {
    const fs::path source = fs::path(from) / name, target = fs::path(to) / name;
    if (!fs::exists(source)) continue;
    const bool names_pad = name == "tokenizer.json" || name == "tokenizer_config.json" || name == "special_tokens_map.json";
    if (pad && names_pad)
      copy_with_pad(source, target, *pad);
    else
      write_file(target.string(), read_file(source.string()));
  }
}

}  // namespace metarm
