#include "metarm/text/chat_template.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/json_lines.h"
#include "metarm/text/chat_format.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

// tokenizer_config.json has a text, or a list of named ones of which `default` counts.
std::optional<std::string> template_text(const Json& config, const std::string& where) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array())
    for (const Json& entry : *found)
      if (text_field(entry, "name", where) == "default") return text_field(entry, "template", where);
  fail_input("{}: chat_template: expected text or a list with one named default, got {}", where, json_type_name(*found));
}

std::optional<std::string> load_template_text(const std::string& directory) {
  const fs::path folder(directory);
  if (fs::exists(folder / "chat_template.jinja")) return read_file((folder / "chat_template.jinja").string());
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    const std::string path = (folder / name).string();
    if (!fs::exists(path)) continue;
    if (std::optional<std::string> text = template_text(load_json(path), path)) return text;
  }
  return std::nullopt;
}

std::string format_list() {
  std::string names;
  for (const auto& [format, name] : EnumNames<ChatFormat>::values)
    if (format != ChatFormat::automatic) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

bool must_alternate(ChatFormat format) {
  return format == ChatFormat::llama2 || format == ChatFormat::mistral || format == ChatFormat::mistral_v3 || format == ChatFormat::gemma2;
}

bool takes_system(ChatFormat format) { return format != ChatFormat::mistral && format != ChatFormat::gemma2; }

void check_order(ChatFormat format, const Conversation& conversation) {
  const std::string_view name = enum_name(format);
  const std::size_t first = conversation.front().role == "system" ? 1 : 0;
  if (first == 1 && !takes_system(format))
    fail_input("the chat template {} takes no system message; put it into the first user message", name);
  if (!must_alternate(format)) return;
  for (std::size_t i = first; i < conversation.size(); ++i) {
    const char* expected = (i - first) % 2 == 0 ? "user" : "assistant";
    if (conversation[i].role != expected)
      fail_input("message {}: the chat template {} expects role {}, got {}", i, name, expected, conversation[i].role);
  }
}

// The format that a training was told to use, which its output remembers; automatic where it was not told.
ChatFormat load_remembered_format(const std::string& directory) {
  for (const char* name : {"config.json", "adapter_config.json"}) {
    const fs::path path = fs::path(directory) / name;
    if (!fs::exists(path)) continue;
    const Json json = load_json(path.string());
    if (!json.is_object() || !json.contains("metarm_chat_template")) continue;
    const std::string wanted = text_field(json, "metarm_chat_template", path.string());
    for (const auto& [format, format_name] : EnumNames<ChatFormat>::values)
      if (wanted == format_name) return format;
    fail_input("{}: metarm_chat_template: expected one of {}, got {}", path.string(), format_list(), wanted);
  }
  return ChatFormat::automatic;
}

}  // namespace

ChatTemplate::ChatTemplate(ChatFormat format, std::string bos, std::string eos)
    : format_(format), bos_(std::move(bos)), eos_(std::move(eos)) {}

std::optional<ChatTemplate> ChatTemplate::load(const std::string& directory, const Tokenizer& tokenizer, ChatFormat wanted) {
  if (wanted == ChatFormat::automatic) wanted = load_remembered_format(directory);
  if (wanted == ChatFormat::automatic) {
    const std::optional<std::string> text = load_template_text(directory);
    if (!text) return std::nullopt;
    const std::optional<ChatFormat> format = recognise_chat_template(*text);
    if (!format)
      fail_input("{}: chat template: expected one of {}, got an unknown one; --chat-template names the one to use", directory,
                 format_list());
    wanted = *format;
  }
  const auto text_of = [&](std::optional<TokenId> id) { return id ? std::string(tokenizer.id_to_token(*id)) : std::string(); };
  return ChatTemplate(wanted, text_of(tokenizer.special().bos), text_of(tokenizer.special().eos));
}

std::string ChatTemplate::render(const Conversation& conversation, bool add_generation_prompt) const {
  if (conversation.empty()) fail_input("expected at least one message, got none");
  check_order(format_, conversation);
  return render_chat({format_, bos_, eos_}, conversation, add_generation_prompt);
}

}  // namespace metarm
