// How fast each part of a model learns, and from when on: frozen layers, learning rates that fall from the head to the embeddings, and
// layers that are unfrozen one after another from the top (discriminative fine-tuning and gradual unfreezing, Howard & Ruder 2018, arXiv
// 1801.06146; `layer_decay` of BEiT).
//
//   rate(place) = decay^(layers - place),   place: -1 embeddings, 0 to layers - 1 the layers, `layers` the final norm and the heads
//
//   first step(place) = every · (highest place − place)
//
// With n frozen layers, those at places below n have rate 0, the embeddings among them, and stay frozen.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "metarm/model/lora.h"
#include "metarm/model/weights.h"

namespace metarm {

struct LayerRateOptions {
  std::int64_t freeze_layers = 0;
  double layer_lr_decay = 1;  // (0, 1]
};

// Places of the tensors that are trained: all of a model, or adapters and a head as make_lora_tensors lists them.
std::vector<std::int64_t> layer_places(const std::vector<SlotInfo>& slots, std::int64_t layers);
std::vector<std::int64_t> layer_places(const Lora& lora, std::int64_t layers, std::size_t tensors);

// One a place, in [0, 1]. Input error where more layers are frozen than there are.
std::vector<double> layer_rates(std::span<const std::int64_t> places, std::int64_t layers, const LayerRateOptions& options);
// One a place, the step (from 0) at which it begins to learn; `every` 0: all at once. The highest place that there is begins: the head and
// the final norm, or of adapters without a head the last layer that has some.
std::vector<std::int64_t> first_steps(std::span<const std::int64_t> places, std::int64_t every);

}  // namespace metarm
