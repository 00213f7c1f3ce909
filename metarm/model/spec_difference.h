// Whether two models compute alike, given equal weights.
#pragma once

#include <string>

#include "metarm/model/spec.h"

namespace metarm {

// Empty where two reward models have the same architecture, else the first thing that differs, named as in config.json of Llama, with what
// `a` and `b` have: "num_hidden_layers: expected 3, got 4".
std::string spec_difference(const ModelSpec& a, const ModelSpec& b);

}  // namespace metarm
