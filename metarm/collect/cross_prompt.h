// Pairs with responses to other prompts: what makes a response good must come from its prompt (RRM, Liu et al. 2024, arXiv 2409.13156).
//
// With two random orders of the rows, row i has a row j and a row k, and RRM makes 14 triplets of it; w and l are a row's chosen and
// rejected response, x its prompt, ≻ "better than" and ~ "as good as", a tie:
//
//   chosen    x_i: w_i ≻ w_j, w_k, l_j, l_k                                 an answer beats what answers something else
//   rejected  x_i: l_i ≻ w_j, w_k, l_j, l_k                                 so does a bad answer
//   neutral   x_i: w_j ~ l_j, w_k ~ l_k, w_j ~ w_k, w_j ~ l_k, w_k ~ l_j, l_j ~ l_k     what answers something else is equally bad
//
// Here j and k are the next two rows in one random circle, so that every response is other rows' response equally often: what it looks
// like then says nothing about its label.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "metarm/collect/collected_pair.h"

namespace metarm {

// The probability with which each triplet of a family is kept; 1 for all three: the paper's 14 a row.
struct CrossPromptShares {
  double chosen = 0, rejected = 0, neutral = 0;
  bool any() const { return chosen > 0 || rejected > 0 || neutral > 0; }
};

struct CrossPromptPairs {
  std::vector<CollectedPair> pairs;  // kinds cross-chosen, cross-rejected, cross-neutral; by rows
  std::int64_t same_prompt = 0;      // left out: the other row answers the same prompt, or with the same response
};

// A function of rows, shares and seed. Weights are 1. Input error where all rows answer one prompt.
CrossPromptPairs make_cross_prompt_pairs(std::span<const CollectedPair> rows, const CrossPromptShares& shares, std::uint64_t seed);

}  // namespace metarm
