// Training pairs' gradients in a file, so that they are made once and many pairs explained by them: safetensors with `direction` and
// `length` of influence.h, and as metadata what they are of.
#pragma once

#include <string>

#include "metarm/explain/influence.h"

namespace metarm {

struct GradientSource {
  std::string model;    // digest of the checkpoint's files, an adapter's base among them
  std::string pairs;    // digest of tokens, margins and weights, in order
  std::string weights;  // which, and how they were made
};

void save_gradient_index(const std::string& path, const GradientSource& source, const PairGradients& gradients);
// Input error for a file that is no index, and for one of another source, naming what differs.
PairGradients load_gradient_index(const std::string& path, const GradientSource& source);

}  // namespace metarm
