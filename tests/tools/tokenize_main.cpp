// tokenize DIRECTORY|tokenizer.json < JSON lines: {"text": ..., "special": bool} -> {"ids": [...], "decoded": ..., "decoded_plain": ...};
// {"messages": [...], "generate": bool} -> {"text": ...} by the directory's chat template or, as second argument, a format's name;
// {"template": Jinja} -> {"digest": ..., "form": ..., "format": its name or null}.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/json_lines.h"
#include "metarm/text/chat_template.h"
#include "metarm/text/jinja_form.h"
#include "metarm/text/tokenizer.h"

namespace metarm {
namespace {

ChatFormat parse_format(const std::string& name) {
  for (const auto& [format, known] : EnumNames<ChatFormat>::values)
    if (name == known) return format;
  fail_input("expected a chat format, got {}", name);
}

Json encode(const Tokenizer& tokenizer, const Json& request) {
  const TokenIds ids = tokenizer.encode(request["text"].get<std::string>(), request["special"]);
  return {{"ids", ids}, {"decoded", tokenizer.decode(ids, false)}, {"decoded_plain", tokenizer.decode(ids, true)}};
}

Json render(const std::string& directory, ChatFormat format, const Json& request) {
  const std::optional<ChatTemplate> chat = ChatTemplate::load(directory, Tokenizer::load(directory), format);
  if (!chat) fail_input("no chat template");
  Conversation conversation;
  for (const Json& message : request["messages"]) conversation.push_back({message["role"], message["content"]});
  try {
    return {{"text", chat->render(conversation, request["generate"])}, {"format", enum_name(chat->format())}};
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

Json recognise(const std::string& jinja) {
  const std::optional<ChatFormat> format = recognise_chat_template(jinja);
  return {{"digest", fmt::format("{:016x}", jinja_digest(jinja))},
          {"form", jinja_form(jinja)},
          {"format", format ? Json(enum_name(*format)) : Json(nullptr)}};
}

void run(const std::string& source, ChatFormat format) {
  std::optional<Tokenizer> tokenizer;
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line);
    if (request.contains("template")) {
      std::cout << recognise(request["template"].get<std::string>()) << "\n";
      continue;
    }
    if (request.contains("messages")) {
      std::cout << render(source, format, request) << "\n";
      continue;
    }
    if (!tokenizer)
      tokenizer.emplace(std::filesystem::is_directory(source) ? Tokenizer::load(source) : Tokenizer::parse(read_file(source), source));
    std::cout << encode(*tokenizer, request) << "\n";
  }
}

}  // namespace
}  // namespace metarm

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  try {
    metarm::run(argv[1], argc > 2 ? metarm::parse_format(argv[2]) : metarm::ChatFormat::automatic);
  } catch (const metarm::Error& error) {
    std::cerr << error.what() << "\n";
    return metarm::exit_code(error.kind());
  }
}
