// What a transformer is, as data: one implementation (transformer.h) serves every family. A family is a row that fills this in
// from a Hugging Face config.json and says how its tensors are named (families.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace metarm {

enum class Family { llama, mistral, qwen2, qwen3, gemma2, gpt2, gpt_neox };
enum class NormKind { rms, layer };
enum class NormPlace { before, before_and_after };  // of attention and MLP; Gemma 2 has both
enum class MlpKind { gated, plain };                // down(act(gate) * up), or down(act(up))
enum class Activation { silu, gelu, gelu_tanh };    // gelu: by the error function
enum class PositionKind { rotary, learned };

// Llama 3's rescaling of rotary frequencies for longer contexts.
struct RopeScaling {
  double factor, low_freq_factor, high_freq_factor;
  std::int64_t original_max_positions;
};

struct ModelSpec {
  Family family = Family::llama;

  std::int64_t vocab_size = 0;  // V
  std::int64_t width = 0;       // D
  std::int64_t layers = 0;
  std::int64_t heads = 0;       // H
  std::int64_t kv_heads = 0;    // G, divides H
  std::int64_t head_width = 0;  // E
  std::int64_t mlp_width = 0;   // F
  std::int64_t max_positions = 0;

  NormKind norm = NormKind::rms;
  NormPlace norm_place = NormPlace::before;
  double norm_epsilon = 1e-5;
  bool norm_adds_one = false;   // Gemma: scales by 1 + weight
  bool query_key_norm = false;  // Qwen3: RMS norm over E of each query and key head

  PositionKind positions = PositionKind::rotary;
  std::int64_t rotary_width = 0;  // how many of E components rotate
  double rope_theta = 10000.0;
  std::optional<RopeScaling> rope_scaling;  // Llama 3's
  double rope_linear_factor = 1.0;          // positions are divided by this

  bool qkv_bias = false, attention_out_bias = false, mlp_bias = false;
  bool parallel_residual = false;  // GPT-NeoX: attention and MLP both read the layer's input
  MlpKind mlp = MlpKind::gated;
  Activation activation = Activation::silu;

  double embedding_scale = 1.0;  // Gemma: sqrt(D)
  double attention_scale = 0;    // multiplies q.k; 1/sqrt(E) unless the family says otherwise
  double attention_softcap = 0;  // 0: none; else c tanh(x / c)
  double logit_softcap = 0;
  std::vector<std::int64_t> window;  // a layer: how many last positions it sees, itself included; 0: all. Empty: all layers see all
  bool tied_embeddings = false;      // the LM head is the token embedding

  std::int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_width; }
  // Tokens that a sequence may have, of which somebody allows `max_length`; 0: no limit. Learned positions end.
  std::int64_t length_limit(std::int64_t max_length) const {
    if (positions != PositionKind::learned) return max_length;
    return max_length > 0 ? std::min(max_length, max_positions) : max_positions;
  }
  std::int64_t layer_window(std::int64_t layer) const { return window.empty() ? 0 : window[static_cast<std::size_t>(layer)]; }
};

}  // namespace metarm
