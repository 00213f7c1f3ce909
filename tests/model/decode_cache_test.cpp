// Attention of growing branches, by kernels and by torch's operations, against all keys at once in double precision.
#include "metarm/model/decode_cache.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace metarm {
namespace {

struct Case {
  std::int64_t heads, kv_heads, width, rotary;
  double softcap;
  std::int64_t window;
  at::ScalarType dtype;
};

ModelSpec make_spec(const Case& of) {
  ModelSpec spec;
  spec.layers = 2;
  spec.heads = of.heads;
  spec.kv_heads = of.kv_heads;
  spec.head_width = of.width;
  spec.positions = of.rotary > 0 ? PositionKind::rotary : PositionKind::learned;
  spec.rotary_width = of.rotary;
  spec.rope_theta = 100;
  spec.attention_scale = 0.3;
  spec.attention_softcap = of.softcap;
  spec.window = {of.window, 0};
  return spec;
}

// What a branch has read: rotated keys and values, [tokens, G, E] a piece.
struct Path {
  std::vector<at::Tensor> keys, values;
};

at::Tensor attend_in_double(const ModelSpec& spec, std::int64_t layer, const at::Tensor& query_HE, const Path& path) {
  const std::int64_t shared = spec.heads / spec.kv_heads;
  at::Tensor key = at::cat(path.keys).to(at::kDouble), value = at::cat(path.values).to(at::kDouble);
  const std::int64_t window = spec.layer_window(layer), first = window > 0 ? std::max<std::int64_t>(0, key.size(0) - window) : 0;
  key = key.slice(0, first).repeat_interleave(shared, 1), value = value.slice(0, first).repeat_interleave(shared, 1);
  at::Tensor logits = at::einsum("he,the->ht", {query_HE.to(at::kDouble), key}) * spec.attention_scale;
  if (spec.attention_softcap > 0) logits = at::tanh(logits / spec.attention_softcap) * spec.attention_softcap;
  return at::einsum("ht,the->he", {at::softmax(logits, 1), value});
}

class Decoding : public testing::TestWithParam<Case> {};

TEST_P(Decoding, BranchesOfAnyLengthsSeeTheirPromptAndThemselves) {
  at::manual_seed(3);
  const Case& of = GetParam();
  const ModelSpec spec = make_spec(of);
  const std::int64_t H = spec.heads, G = spec.kv_heads, E = spec.head_width;
  const auto options = at::TensorOptions().dtype(of.dtype);
  DecodeCache cache(spec, 20, 40, at::empty({1}, options));
  const auto rotary_at = [&](const std::vector<std::int64_t>& positions) { return make_rotary(spec, at::tensor(positions, at::kLong)); };

  // Prompts of 37 and 5 tokens, then, later, one of 70; 18 branches of the second, which is more than the kernel takes at once.
  std::map<std::int64_t, std::vector<Path>> of_prompt;  // by layer
  const std::vector<std::int64_t> lengths = {37, 5, 70};
  const auto add_prompts = [&](std::int64_t first, std::int64_t count) {
    std::vector<Segment> segments;
    std::vector<std::int64_t> positions;
    for (std::int64_t p = first; p < first + count; ++p) {
      const auto begin = static_cast<std::int64_t>(positions.size()), length = lengths[static_cast<std::size_t>(p)];
      segments.push_back({begin, begin + length, 0, 0});
      for (std::int64_t i = 0; i < length; ++i) positions.push_back(i);
    }
    cache.add_prompts(first, segments);
    for (std::int64_t layer = 0; layer < spec.layers; ++layer) {
      const at::Tensor qkv = at::randn({static_cast<std::int64_t>(positions.size()), H + 2 * G, E}, options);
      const Heads heads = split_heads(spec, qkv.clone(), rotary_at(positions));
      cache.attend_prompts(layer, qkv, rotary_at(positions));
      for (std::int64_t p = 0; p < count; ++p) {
        const Segment& segment = segments[static_cast<std::size_t>(p)];
        of_prompt[layer].push_back(
            {{heads.key_NGE.slice(0, segment.begin, segment.end)}, {heads.value_NGE.slice(0, segment.begin, segment.end)}});
      }
    }
  };
  add_prompts(0, 2);

  std::vector<GrowingBranch> branches = {{0, 19, 0}};
  for (std::int64_t slot = 0; slot < 18; ++slot) branches.push_back({1, slot, 0});
  std::map<std::pair<std::int64_t, std::int64_t>, Path> paths;  // by layer and slot
  const auto start = [&](const GrowingBranch& branch) {
    for (std::int64_t layer = 0; layer < spec.layers; ++layer)
      paths[{layer, branch.slot}] = of_prompt[layer][static_cast<std::size_t>(branch.prompt)];
  };
  for (const GrowingBranch& branch : branches) start(branch);

  const double tolerance = of.dtype == at::kFloat ? 2e-6 : 0.02;
  for (int step = 0; step < 40; ++step) {
    if (step == 20) {  // one prompt ends, another comes into its slot
      cache.drop_prompt(0);
      add_prompts(2, 1);
      branches.erase(branches.begin());
      branches.push_back({2, 19, 0});
      start(branches.back());
    }
    std::vector<std::int64_t> positions;
    for (const GrowingBranch& branch : branches) positions.push_back(lengths[static_cast<std::size_t>(branch.prompt)] + branch.length);
    const Rotary rotary = rotary_at(positions);
    for (std::int64_t layer = 0; layer < spec.layers; ++layer) {
      const at::Tensor qkv = at::randn({static_cast<std::int64_t>(branches.size()), H + 2 * G, E}, options);
      const Heads heads = split_heads(spec, qkv.clone(), rotary);
      const at::Tensor plainly = cache.attend_branches_plainly(layer, branches, heads);
      const at::Tensor by_kernels = cache.attend_branches(layer, branches, qkv, rotary);
      for (std::size_t b = 0; b < branches.size(); ++b) {
        const auto row = static_cast<std::int64_t>(b);
        Path& path = paths[{layer, branches[b].slot}];
        path.keys.push_back(heads.key_NGE.slice(0, row, row + 1));
        path.values.push_back(heads.value_NGE.slice(0, row, row + 1));
        const at::Tensor expected = attend_in_double(spec, layer, heads.query_NHE[row], path);
        ASSERT_LT((by_kernels[row].to(at::kDouble) - expected).abs().max().item<double>(), tolerance)
            << "kernels, step " << step << ", branch " << b;
        ASSERT_LT((plainly[row].to(at::kDouble) - expected).abs().max().item<double>(), tolerance)
            << "plainly, step " << step << ", branch " << b;
      }
    }
    for (GrowingBranch& branch : branches) ++branch.length;
    if (step == 7) branches.erase(branches.begin() + 4);  // ends early
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Decoding,
                         testing::Values(Case{9, 3, 16, 16, 0, 0, at::kFloat}, Case{4, 4, 10, 4, 2.0, 6, at::kFloat},
                                         Case{6, 1, 33, 0, 0, 20, at::kFloat}, Case{4, 2, 16, 16, 0, 0, at::kBFloat16}));

}  // namespace
}  // namespace metarm
