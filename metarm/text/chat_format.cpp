#include "metarm/text/chat_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "metarm/base/error.h"
#include "metarm/text/unicode.h"

namespace metarm {

namespace {

// What Python's str.isspace() holds for, besides Unicode's white space: the separators U+001C to U+001F.
bool is_python_space(char32_t c) { return is_whitespace(c) || (c >= 0x1c && c <= 0x1f); }

// As Python's str.strip() and Jinja's trim.
std::string_view strip(std::string_view text) {
  std::size_t begin = text.size(), end = 0;
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t start = position;
    if (is_python_space(next_code_point(text, position))) continue;
    begin = std::min(begin, start);
    end = position;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

std::string_view strip_newlines(std::string_view text, bool front, bool back) {
  while (front && text.starts_with('\n')) text.remove_prefix(1);
  while (back && text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

std::string_view default_system(ChatFormat format) {
  switch (format) {
    case ChatFormat::smollm2: return "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
    case ChatFormat::qwen2: return "You are a helpful assistant.";
    case ChatFormat::qwen2_5: return "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
    default: return {};
  }
}

bool has_system(const Conversation& conversation) { return !conversation.empty() && conversation.front().role == "system"; }

std::string chatml_turn(std::string_view role, std::string_view content) {
  return fmt::format("<|im_start|>{}\n{}<|im_end|>\n", role, content);
}

std::string render_chatml(const ChatText& chat, const Conversation& conversation) {
  std::string text;
  if (const std::string_view system = default_system(chat.format); !system.empty() && !has_system(conversation))
    text = chatml_turn("system", system);
  for (const Message& message : conversation) text += chatml_turn(message.role, message.content);
  return text;
}

// Qwen3 keeps the thinking of answers to the last question, and opens the last answer with an empty block where it has none.
std::string render_qwen3(const Conversation& conversation) {
  std::size_t last_question = conversation.size() - 1;
  for (std::size_t i = 0; i < conversation.size(); ++i)
    if (conversation[i].role == "user" &&
        !(conversation[i].content.starts_with("<tool_response>") && conversation[i].content.ends_with("</tool_response>")))
      last_question = i;
  std::string text;
  for (std::size_t i = 0; i < conversation.size(); ++i) {
    std::string_view content = conversation[i].content;
    if (conversation[i].role != "assistant") {
      text += chatml_turn(conversation[i].role, content);
      continue;
    }
    std::string_view thinking;
    if (const std::size_t end = content.find("</think>"); end != std::string_view::npos) {
      thinking = strip_newlines(content.substr(0, end), false, true);
      if (const std::size_t begin = thinking.rfind("<think>"); begin != std::string_view::npos) thinking = thinking.substr(begin + 7);
      thinking = strip_newlines(thinking, true, false);
      content = strip_newlines(content.substr(content.rfind("</think>") + 8), true, false);
    }
    const bool shows_thinking = i > last_question && (i + 1 == conversation.size() || !thinking.empty());
    text += shows_thinking ? chatml_turn("assistant", fmt::format("<think>\n{}\n</think>\n\n{}", strip_newlines(thinking, true, true),
                                                                  strip_newlines(content, true, false)))
                           : chatml_turn("assistant", content);
  }
  return text;
}

std::string render_llama2(const ChatText& chat, const Conversation& conversation) {
  std::string text;
  std::string system;
  for (const Message& message : conversation) {
    if (message.role == "system") {
      system = fmt::format("<<SYS>>\n{}\n<</SYS>>\n\n", message.content);
    } else if (message.role == "user") {
      text += fmt::format("{}[INST] {} [/INST]", chat.bos, strip(system + message.content));
      system.clear();
    } else {
      text += fmt::format(" {} {}", strip(message.content), chat.eos);
    }
  }
  return text;
}

std::string llama3_turn(std::string_view role, std::string_view content) {
  return fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>", role, content);
}

std::string render_llama3(const ChatText& chat, const Conversation& conversation) {
  std::string text = chat.bos;
  std::size_t next = 0;
  if (chat.format == ChatFormat::llama3_1) {
    const std::string_view system = has_system(conversation) ? strip(conversation[next++].content) : std::string_view();
    text += llama3_turn("system", fmt::format("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n{}", system));
  }
  for (; next < conversation.size(); ++next) text += llama3_turn(conversation[next].role, strip(conversation[next].content));
  return text;
}

std::string render_mistral(const ChatText& chat, const Conversation& conversation) {
  const bool v3 = chat.format == ChatFormat::mistral_v3;
  std::string text = chat.bos;
  for (const Message& message : conversation) {
    if (message.role == "system") continue;  // v3 puts it into the last question
    if (message.role == "assistant") {
      text += v3 ? fmt::format(" {}{}", strip(message.content), chat.eos) : message.content + chat.eos;
    } else if (v3 && has_system(conversation) && &message == &conversation.back()) {
      text += fmt::format("[INST] {}\n\n{}[/INST]", conversation.front().content, message.content);
    } else {
      text += fmt::format("[INST] {}{}[/INST]", message.content, v3 ? "" : " ");
    }
  }
  return text;
}

std::string render_gemma2(const ChatText& chat, const Conversation& conversation) {
  std::string text = chat.bos;
  for (const Message& message : conversation)
    text +=
        fmt::format("<start_of_turn>{}\n{}<end_of_turn>\n", message.role == "assistant" ? "model" : message.role, strip(message.content));
  return text;
}

std::string render_zephyr(const ChatText& chat, const Conversation& conversation) {
  std::string text;
  for (const Message& message : conversation) text += fmt::format("<|{}|>\n{}{}\n", message.role, message.content, chat.eos);
  return text;
}

std::string render_vicuna(const ChatText& chat, const Conversation& conversation) {
  std::string text =
      has_system(conversation)
          ? conversation.front().content
          : "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
            "polite answers to the user's questions.";
  text += " ";
  for (const Message& message : conversation) {
    if (message.role == "user") text += fmt::format("USER: {} ", message.content);
    if (message.role == "assistant") text += fmt::format("ASSISTANT: {}{}", message.content, chat.eos);
  }
  return text;
}

std::string render_hh(const ChatText& chat, const Conversation& conversation) {
  std::string text;
  for (const Message& message : conversation)
    text += message.role == "system" ? message.content
                                     : fmt::format("\n\n{}: {}", message.role == "user" ? "Human" : "Assistant", message.content);
  if (conversation.back().role == "assistant") text += chat.eos;
  return text;
}

const char* generation_prompt(ChatFormat format) {
  switch (format) {
    case ChatFormat::llama3:
    case ChatFormat::llama3_1: return "<|start_header_id|>assistant<|end_header_id|>\n\n";
    case ChatFormat::gemma2: return "<start_of_turn>model\n";
    case ChatFormat::zephyr: return "<|assistant|>\n";
    case ChatFormat::vicuna: return "ASSISTANT:";
    case ChatFormat::hh: return "\n\nAssistant:";
    case ChatFormat::llama2:
    case ChatFormat::mistral:
    case ChatFormat::mistral_v3: return "";
    default: return "<|im_start|>assistant\n";
  }
}

std::string render_turns(const ChatText& chat, const Conversation& conversation) {
  switch (chat.format) {
    case ChatFormat::chatml:
    case ChatFormat::smollm2:
    case ChatFormat::qwen2:
    case ChatFormat::qwen2_5: return render_chatml(chat, conversation);
    case ChatFormat::qwen3: return render_qwen3(conversation);
    case ChatFormat::llama2: return render_llama2(chat, conversation);
    case ChatFormat::llama3:
    case ChatFormat::llama3_1: return render_llama3(chat, conversation);
    case ChatFormat::mistral:
    case ChatFormat::mistral_v3: return render_mistral(chat, conversation);
    case ChatFormat::gemma2: return render_gemma2(chat, conversation);
    case ChatFormat::zephyr: return render_zephyr(chat, conversation);
    case ChatFormat::vicuna: return render_vicuna(chat, conversation);
    case ChatFormat::hh: return render_hh(chat, conversation);
    case ChatFormat::automatic: break;
  }
  fail_internal("render_chat: a format is needed");
}

}  // namespace

std::string render_chat(const ChatText& chat, const Conversation& conversation, bool add_generation_prompt) {
  return render_turns(chat, conversation) + (add_generation_prompt ? generation_prompt(chat.format) : "");
}

}  // namespace metarm
