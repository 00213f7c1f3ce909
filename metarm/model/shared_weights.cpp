#include "metarm/model/shared_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace metarm {

namespace {

// Undefined where there is none.
at::Tensor find_equal(const Weights& weights, const SlotInfo& slot, const at::Tensor& tensor) {
  const auto is_same_slot = [&](const SlotInfo& other) { return other.slot == slot.slot && other.layer == slot.layer; };
  if (slot.slot == Slot::score || std::ranges::none_of(weights.slots(), is_same_slot)) return {};
  const at::Tensor& found = weights.at(slot.slot, slot.layer);
  const bool comparable =
      found.scalar_type() == tensor.scalar_type() && found.device() == tensor.device() && found.sizes() == tensor.sizes();
  return comparable && at::equal(found, tensor) ? found : at::Tensor();
}

void take_equal_tensors(Weights& weights, std::span<Weights* const> others) {
  std::vector<at::Tensor> tensors;
  bool any = false;
  for (const SlotInfo& slot : weights.slots()) {
    const at::Tensor& own = weights.at(slot.slot, slot.layer);
    at::Tensor equal;
    for (std::size_t i = 0; i < others.size() && !equal.defined(); ++i) equal = find_equal(*others[i], slot, own);
    any = any || equal.defined();
    const bool in_storage = weights.storage().size() > 0 && own.is_alias_of(weights.storage().flat());
    tensors.push_back(equal.defined() ? equal : in_storage ? own.clone() : own);
  }
  if (any) weights = weights.with_tensors(tensors);
}

}  // namespace

void hold_equal_tensors_once(std::span<Weights* const> all) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 1; i < all.size(); ++i) take_equal_tensors(*all[i], all.first(i));
}

}  // namespace metarm
