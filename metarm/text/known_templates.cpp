#include "metarm/text/chat_template.h"
#include "metarm/text/jinja_form.h"

namespace metarm {

namespace {

struct KnownTemplate {
  std::uint64_t digest;
  ChatFormat format;
};

// A template belongs here once it rendered as transformers renders it on every conversation of tests/oracle/test_chat_templates.py;
// build/tokenize prints its digest.
constexpr KnownTemplate kKnown[] = {
    {0x46d4acb0b21ae217, ChatFormat::chatml},      // TRL's setup_chat_format, OpenHermes 2.5, SmolLM
    {0xbb9ca97895010700, ChatFormat::chatml},      // Dolphin 2.5 to 2.9
    {0x3eb7b1bffe477436, ChatFormat::chatml},      // Qwen3 Instruct 2507, TRL's form for training of it
    {0xb54386ec6c9dbce5, ChatFormat::smollm2},     // SmolLM2 Instruct
    {0xbaa8d6edd10ddfb0, ChatFormat::qwen2},       // Qwen2 Instruct
    {0x4bc7c389d8aefa5e, ChatFormat::qwen2_5},     // Qwen2.5 Instruct
    {0x70afcb24e934cc0c, ChatFormat::qwen2_5},     // Qwen2.5 0.5B Instruct
    {0xc65821b9364a29e3, ChatFormat::qwen2_5},     // TRL's form for training
    {0x150219a4f5fba1c5, ChatFormat::qwen3},       // Qwen3, April 2025
    {0x606abae33187e81c, ChatFormat::qwen3},       // Qwen3, since July 2025
    {0xcc4a498832e1c82d, ChatFormat::llama2},      // Llama 2 Chat
    {0xeab3bd6efef659fd, ChatFormat::llama3},      // Llama 3 Instruct, since May 2024
    {0x506e52742d23821e, ChatFormat::llama3},      // TRL's form for training
    {0xbfdc5db215145a8d, ChatFormat::llama3_1},    // Llama 3.1 and 3.3 Instruct
    {0xfb16182fbde2349a, ChatFormat::llama3_1},    // Llama 3.2 Instruct: prints the day's date, which is held still here
    {0xe0f7d921777a394c, ChatFormat::mistral},     // Mistral 7B Instruct 0.2, Mixtral 8x7B Instruct
    {0x3bd61420abe72243, ChatFormat::mistral_v3},  // Mistral 7B Instruct 0.3
    {0x87d7052f1c4beea0, ChatFormat::gemma2},      // Gemma and Gemma 2 Instruct
    {0x942c6b421fa719e3, ChatFormat::gemma2},      // TRL's form for training
    {0x19067cc40940ec45, ChatFormat::zephyr},      // Zephyr 7B beta, TinyLlama Chat
};

}  // namespace

std::optional<ChatFormat> recognise_chat_template(std::string_view jinja) {
  if (jinja_form(jinja).empty()) return std::nullopt;
  const std::uint64_t digest = jinja_digest(jinja);
  for (const KnownTemplate& known : kKnown)
    if (known.digest == digest) return known.format;
  return std::nullopt;
}

}  // namespace metarm
