// A GGUF file's hyper-parameters as a Hugging Face config.json.
#pragma once

#include "metarm/base/gguf.h"
#include "metarm/base/json_lines.h"

namespace metarm {

// For the architectures llama (with Mistral and SmolLM2), qwen2, qwen3, gemma2, gpt2 and gptneox; parse_model_spec reads the result. Tied
// embeddings, biases and Llama 3's rotary scaling are seen from the tensors that are there. Input error, listing what is supported, for
// another architecture or rotary scaling, and for values that are missing or contradict each other.
Json make_gguf_config(const GgufFile& file);

}  // namespace metarm
