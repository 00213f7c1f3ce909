#include "metarm/model/same_texts.h"

#include <filesystem>
#include <optional>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/json_lines.h"
#include "metarm/model/open.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

// null where there is no such file or field.
Json field_of(const std::string& directory, const char* file, const char* field) {
  const fs::path path = fs::path(directory) / file;
  if (!fs::exists(path)) return nullptr;
  const Json json = load_json(path.string());
  return json.is_object() ? json.value(field, Json()) : Json();
}

// Most members have copies of one tokenizer: nothing needs to be parsed then.
bool has_same_files(const std::string& a, const std::string& b) {
  const auto text = [](const fs::path& path) { return fs::exists(path) ? read_file(path.string()) : std::string(); };
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"})
    if (text(fs::path(a) / file) != text(fs::path(b) / file)) return false;
  return true;
}

// The first of what text/chat_template.h reads, as it stands; null where there is none.
Json chat_template_of(const std::string& directory) {
  for (const char* file : {"config.json", "adapter_config.json"})
    if (Json remembered = field_of(directory, file, "metarm_chat_template"); !remembered.is_null()) return remembered;
  const fs::path jinja = fs::path(directory) / "chat_template.jinja";
  if (fs::exists(jinja)) return read_file(jinja.string());
  for (const char* file : {"chat_template.json", "tokenizer_config.json"})
    if (Json text = field_of(directory, file, "chat_template"); !text.is_null()) return text;
  const std::string other = tokenizer_directory(directory);
  return other == directory ? Json() : chat_template_of(other);
}

// nullopt where there is none, or none that is known.
std::optional<ChatFormat> chat_format_of(const std::string& directory) {
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_directory(directory));
  try {
    const std::optional<ChatTemplate> chat = load_chat_template(directory, tokenizer, ChatFormat::automatic);
    return chat ? std::optional(chat->format()) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Templates that are known may be told by a training or be programs that differ; one that is not must be the same text.
bool has_same_chat_template(const std::string& a, const std::string& b) {
  if (chat_template_of(a) == chat_template_of(b)) return true;
  const std::optional<ChatFormat> format = chat_format_of(a);
  return format && format == chat_format_of(b);
}

std::string token_text(const Tokenizer& tokenizer, std::optional<TokenId> id) {
  return id ? std::string(tokenizer.id_to_token(*id)) : std::string("none");
}

void check_parts(const std::string& directory, const std::string& reference) {
  const Json found = load_json((fs::path(tokenizer_directory(directory)) / "tokenizer.json").string());
  const Json expected = load_json((fs::path(tokenizer_directory(reference)) / "tokenizer.json").string());
  for (const char* part : {"model", "added_tokens", "normalizer", "pre_tokenizer", "post_processor"})
    if (found.value(part, Json()) != expected.value(part, Json()))
      fail_input("{}: expected the tokenizer of {}, got another: {} of tokenizer.json differs", directory, reference, part);
}

void check_special_tokens(const std::string& directory, const std::string& reference) {
  const Tokenizer a = Tokenizer::load(tokenizer_directory(reference)), b = Tokenizer::load(tokenizer_directory(directory));
  const auto check = [&](const char* name, std::optional<TokenId> expected, std::optional<TokenId> found) {
    if (expected != found)
      fail_input("{}: expected the tokenizer of {}, got another: its {} is {}, not {}", directory, reference, name, token_text(b, found),
                 token_text(a, expected));
  };
  check("start token", a.special().bos, b.special().bos);
  check("end token", a.special().eos, b.special().eos);
}

}  // namespace

void check_same_texts(const std::string& directory, const std::string& reference) {
  if (!has_same_files(tokenizer_directory(directory), tokenizer_directory(reference))) {
    check_parts(directory, reference);
    check_special_tokens(directory, reference);
  }
  if (!has_same_chat_template(directory, reference)) fail_input("{}: expected the chat template of {}, got another", directory, reference);
}

}  // namespace metarm
