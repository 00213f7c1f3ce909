#include "metarm/train/layer_rates.h"

#include <algorithm>
#include <cmath>

#include "metarm/base/error.h"

namespace metarm {

std::vector<std::int64_t> layer_places(const std::vector<SlotInfo>& slots, std::int64_t layers) {
  std::vector<std::int64_t> places;
  for (const SlotInfo& slot : slots) {
    const bool embeds = slot.slot == Slot::token_embedding || slot.slot == Slot::position_embedding;
    places.push_back(embeds ? -1 : is_layer_slot(slot.slot) ? slot.layer : layers);
  }
  return places;
}

std::vector<std::int64_t> layer_places(const Lora& lora, std::int64_t layers, std::size_t tensors) {
  std::vector<std::int64_t> places;
  for (const LoraModule& module : lora.modules) places.insert(places.end(), 2, module.weight.layer);
  places.resize(tensors, layers);
  return places;
}

std::vector<double> layer_rates(std::span<const std::int64_t> places, std::int64_t layers, const LayerRateOptions& options) {
  if (options.freeze_layers > layers)
    fail_input("--freeze-layers: expected up to {}, as many layers as the model has, got {}", layers, options.freeze_layers);
  std::vector<double> rates;
  for (const std::int64_t place : places) {
    const bool frozen = options.freeze_layers > 0 && place < options.freeze_layers;
    rates.push_back(frozen ? 0 : std::pow(options.layer_lr_decay, static_cast<double>(layers - place)));
  }
  return rates;
}

std::vector<std::int64_t> first_steps(std::span<const std::int64_t> places, std::int64_t every) {
  const std::int64_t highest = places.empty() ? 0 : std::ranges::max(places);
  std::vector<std::int64_t> steps;
  for (const std::int64_t place : places) steps.push_back(every * (highest - place));
  return steps;
}

}  // namespace metarm
