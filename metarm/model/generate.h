// Sampling responses from a language model: k branches a prompt, with a key/value cache that a prompt's branches share.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "metarm/model/token_sampler.h"
#include "metarm/model/transformer.h"

namespace metarm {

struct GenerateOptions {
  std::int64_t responses = 4;  // k
  std::int64_t max_new_tokens = 128;
  TokenSampling sampling;
  std::uint64_t seed = 0;           // a response is a function of (seed, prompt index, response index), whatever the batch
  std::uint64_t first_prompt = 0;   // the index of the first of the prompts given
  std::vector<TokenId> end_tokens;  // a response ends with one of these, which it holds
  std::function<bool(std::size_t prompt, const TokenIds& response)> stop;  // further reasons to end, asked after each token; may be empty
  bool log_probs = false;                                                  // whether to record them
  std::int64_t tokens_per_batch =
      16384;  // bound of the tokens whose keys and values are held at once; a prompt's k responses stay together
};

struct GeneratedResponse {
  TokenIds tokens;
  bool ended = false;            // by an end token or `stop`, not by max_new_tokens
  std::vector<float> log_probs;  // of each token, where asked for: see token_log_prob
};

// Lays a model's matrices out for generation where that is faster than torch's products (on the CPU, but for bfloat16 on a processor that
// multiplies it), or with `int8` as such; from then on it serves generate() alone. CPU only for int8.
void pack_for_generation(Model& model, bool int8);

// One vector of k responses a prompt. Prompts must not be empty (input error). `progress`: prompts done, tokens generated so far.
std::vector<std::vector<GeneratedResponse>> generate(const Model& model, std::span<const TokenIds> prompts, const GenerateOptions& options,
                                                     const std::function<void(std::int64_t prompts, std::int64_t tokens)>& progress = {});

}  // namespace metarm
