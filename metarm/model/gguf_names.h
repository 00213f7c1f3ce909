// Hugging Face tensor names to those of GGUF files.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "metarm/model/spec.h"

namespace metarm {

// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight"; nullopt for a name that the family does not have.
std::optional<std::string> gguf_tensor_name(Family family, std::string_view name);

}  // namespace metarm
