// Chat templates of the supported families. Checkpoints carry Jinja programs; instead of an interpreter, metarm knows published ones by
// their digest and renders them natively, equal to `transformers`' apply_chat_template on conversations of system, user and assistant
// messages (the one difference: a date is held still, see llama3_1). Any other program is unknown, however near to a known one: the
// user says which format it is.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "metarm/base/options.h"
#include "metarm/text/message.h"
#include "metarm/text/tokenizer.h"

namespace metarm {

enum class ChatFormat {
  automatic,   // recognise from the checkpoint
  chatml,      // <|im_start|>role\n...<|im_end|>\n, no default system message
  smollm2,     // chatml with SmolLM2's default system message
  qwen2,       // chatml with Qwen2's default system message
  qwen2_5,     // chatml with Qwen2.5's
  qwen3,       // chatml; thinking blocks of earlier assistant turns dropped
  llama2,      // [INST] ... [/INST], start and end token around each exchange
  llama3,      // <|start_header_id|>role<|end_header_id|>\n\n...<|eot_id|>
  llama3_1,    // the same with a system message that holds a date: always 26 Jul 2024, so that a text's score does not change overnight
               // (Llama 3.1's own; Llama 3.2's template prints the day's date)
  mistral,     // [INST] ... [/INST]...</s>
  mistral_v3,  // [INST] ...[/INST] ...</s>
  gemma2,      // <start_of_turn>user\n...<end_of_turn>\n
  zephyr,      // <|user|>\n...</s>\n
  vicuna,      // USER: ... ASSISTANT: ...</s>
  hh,          // "\n\nHuman: ...\n\nAssistant: ..." as Anthropic's HH-RLHF data, and the end token
};
template <>
struct EnumNames<ChatFormat> {
  static constexpr std::pair<ChatFormat, const char*> values[] = {
      {ChatFormat::automatic, "auto"},  {ChatFormat::chatml, "chatml"},         {ChatFormat::smollm2, "smollm2"},
      {ChatFormat::qwen2, "qwen2"},     {ChatFormat::qwen2_5, "qwen2.5"},       {ChatFormat::qwen3, "qwen3"},
      {ChatFormat::llama2, "llama2"},   {ChatFormat::llama3, "llama3"},         {ChatFormat::llama3_1, "llama3.1"},
      {ChatFormat::mistral, "mistral"}, {ChatFormat::mistral_v3, "mistral-v3"}, {ChatFormat::gemma2, "gemma2"},
      {ChatFormat::zephyr, "zephyr"},   {ChatFormat::vicuna, "vicuna"},         {ChatFormat::hh, "hh"},
  };
};

class ChatTemplate {
 public:
  // `bos` and `eos` are the texts of those tokens (templates print them).
  ChatTemplate(ChatFormat format, std::string bos, std::string eos);
  // From a checkpoint directory: the format that its training was told to use (config.json's or adapter_config.json's
  // metarm_chat_template), else chat_template.jinja, chat_template.json or tokenizer_config.json's chat_template (text, or a list with one
  // named `default`). `wanted` other than automatic overrides all. nullopt when the checkpoint has none; input error, naming
  // --chat-template and its values, when it has one that is unknown.
  static std::optional<ChatTemplate> load(const std::string& directory, const Tokenizer& tokenizer, ChatFormat wanted);

  ChatFormat format() const { return format_; }
  // The text of a conversation; with `add_generation_prompt`, also what opens the assistant's next turn. Input error for a role or an order
  // that the template refuses.
  std::string render(const Conversation& conversation, bool add_generation_prompt) const;

 private:
  ChatFormat format_;
  std::string bos_, eos_;
};

// The format that a Jinja template is by its digest (jinja_form.h), or nullopt.
std::optional<ChatFormat> recognise_chat_template(std::string_view jinja);

}  // namespace metarm
