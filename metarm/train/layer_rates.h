// How fast each part of a model learns: frozen layers, and learning rates that fall from the head to the embeddings (discriminative
// fine-tuning, Howard & Ruder 2018, arXiv 1801.06146; `layer_decay` of BEiT).
//
//   rate(place) = decay^(layers - place),   place: -1 embeddings, 0 to layers - 1 the layers, `layers` the final norm and the heads
//
// With n frozen layers, those at places below n have rate 0, the embeddings among them.
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

}  // namespace metarm
