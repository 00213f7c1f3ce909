// The tokenizer of a GGUF file as the files that a Hugging Face directory has for it.
#pragma once

#include <string>

#include "metarm/base/gguf.h"

namespace metarm {

struct TokenizerTexts {
  std::string tokenizer;           // tokenizer.json
  std::string tokenizer_config;    // tokenizer_config.json, with the chat template
  std::string special_tokens_map;  // special_tokens_map.json
};

// Byte-level vocabularies (tokenizer.ggml.model gpt2) with the pre-tokenizers default, gpt-2, smollm, starcoder, llama-bpe, qwen2 and olmo;
// SentencePiece ones (llama) as Llama 2, Mistral and Gemma have them. Control tokens become special added tokens, user-defined ones plain
// added tokens. Input error, listing what is known, for others.
TokenizerTexts make_tokenizer_texts(const GgufFile& file);

}  // namespace metarm
