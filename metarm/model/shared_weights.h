// Frozen models that have tensors in common (a reward model and the critic that starts from it, adapters merged over one base): each such
// tensor is held once.
#pragma once

#include <span>

#include "metarm/model/weights.h"

namespace metarm {

// Each of `all`, in order, takes every tensor that one before it has too, of the same slot, type, device and numbers, from there; reward
// heads stay. Where it takes any, the rest of its tensors leaves its flat buffer, which is freed, and it has no storage() from then on. For
// weights that nothing moves.
void hold_equal_tensors_once(std::span<Weights* const> all);

}  // namespace metarm
