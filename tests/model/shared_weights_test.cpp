#include "metarm/model/shared_weights.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace metarm {
namespace {

ModelSpec tiny_spec(std::int64_t layers) {
  ModelSpec spec;
  spec.layers = layers;
  spec.width = 8;
  spec.heads = spec.kv_heads = 2;
  spec.head_width = 4;
  spec.mlp_width = 12;
  spec.vocab_size = 10;
  return spec;
}

Weights make_weights(std::int64_t layers, HeadKind head) {
  Weights weights(tiny_spec(layers), head, at::kFloat, at::kCPU);
  torch::manual_seed(3);
  for (const SlotInfo& slot : weights.slots()) weights.at(slot.slot, slot.layer).normal_();
  return weights;
}

TEST(SharedWeights, EqualTensorsAreHeldOnceAndTheRestStays) {
  Weights first = make_weights(2, HeadKind::reward), second = make_weights(2, HeadKind::reward);
  second.at(Slot::down_weight, 1)[3][4] += 1;
  const at::Tensor changed = second.at(Slot::down_weight, 1).clone();
  hold_equal_tensors_once(std::vector<Weights*>{&first, &second});
  for (const SlotInfo& slot : second.slots()) {
    const at::Tensor &a = first.at(slot.slot, slot.layer), &b = second.at(slot.slot, slot.layer);
    const bool own = slot.slot == Slot::score || (slot.slot == Slot::down_weight && slot.layer == 1);
    EXPECT_EQ(a.const_data_ptr() == b.const_data_ptr(), !own) << slot.info.name;
  }
  EXPECT_TRUE(at::equal(second.at(Slot::down_weight, 1), changed));
  EXPECT_EQ(second.at(Slot::down_weight, 1).storage().nbytes(), changed.nbytes()) << "the flat buffer is still held";
  EXPECT_EQ(second.storage().size(), 0U);
  EXPECT_GT(first.storage().size(), 0U);
}

TEST(SharedWeights, OfModelsThatDifferNothingMoves) {
  Weights first = make_weights(1, HeadKind::language_model), second = make_weights(3, HeadKind::reward);
  for (const SlotInfo& slot : second.slots()) second.at(slot.slot, slot.layer).add_(1);
  hold_equal_tensors_once(std::vector<Weights*>{&first, &second});
  EXPECT_GT(second.storage().size(), 0U);
}

// A trained head is a leaf of its own, whatever else is shared.
TEST(SharedWeights, HeadsThatAreTrainedStayLeaves) {
  Weights first = make_weights(1, HeadKind::reward), second = make_weights(1, HeadKind::reward);
  const at::Tensor leaf = first.at(Slot::score).clone().requires_grad_(true);
  second.set(Slot::score, 0, leaf);
  hold_equal_tensors_once(std::vector<Weights*>{&first, &second});
  EXPECT_TRUE(second.at(Slot::score).is_same(leaf));
}

}  // namespace
}  // namespace metarm
