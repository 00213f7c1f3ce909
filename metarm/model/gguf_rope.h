// How a GGUF file says that rotary frequencies are scaled.
#pragma once

#include "metarm/base/gguf.h"
#include "metarm/base/json_lines.h"

namespace metarm {

// config.json's `rope_scaling`, or null. Llama 3's scaling lies in the file as the tensor rope_freqs.weight, the divisor of each frequency;
// its parameters are found again by computing those divisors. Input error for scalings other than linear and Llama 3's.
Json make_gguf_rope_scaling(const GgufFile& file, const std::string& architecture, double theta, std::int64_t rotary_width);

}  // namespace metarm
