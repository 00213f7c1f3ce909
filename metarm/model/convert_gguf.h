// GGUF files to Hugging Face checkpoint directories.
#pragma once

#include <string>

#include "metarm/base/log.h"
#include "metarm/base/safetensors.h"

namespace metarm {

// Writes config.json, generation_config.json, model.safetensors in `dtype` (f32, f16 or bf16) and the tokenizer's files to
// `output_directory`, which must not exist; it appears whole or not at all. Takes the memory of the largest tensor, twice. Undoes what
// GGUF's writers do to weights: the order of rotary rows (llama), norms with one added (gemma2), turned matrices (gpt2), heads sorted by
// query, key, value (gptneox). Input error for a tensor that is missing, superfluous, of another shape, or not finite in `dtype`.
void convert_gguf(const std::string& input, const std::string& output_directory, DType dtype, Log& log);

}  // namespace metarm
