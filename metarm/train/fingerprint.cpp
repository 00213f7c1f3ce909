#include "metarm/train/fingerprint.h"

#include <fmt/format.h>

#include <bit>
#include <cstdint>

#include "metarm/base/random.h"

namespace metarm {

namespace {

class Hash {
 public:
  void add(std::uint64_t value) { state_ = mix64(state_ ^ value); }
  void add(double value) { add(std::bit_cast<std::uint64_t>(value)); }
  void add(const TokenIds& tokens) {
    add(static_cast<std::uint64_t>(tokens.size()));
    for (const TokenId token : tokens) add(static_cast<std::uint64_t>(token));
  }

  void add(const EncodedResponse& response) {
    add(response.tokens);
    add(static_cast<std::uint64_t>(response.begin));
  }

  Json with_rows(std::size_t rows) const { return {{"rows", rows}, {"hash", fmt::format("{:016x}", state_)}}; }

 private:
  std::uint64_t state_ = 1;
};

template <class EncodedRow>
Json of_pairs(std::span<const EncodedRow> pairs) {
  Hash hash;
  for (const EncodedRow& pair : pairs) {
    hash.add(pair.chosen);
    hash.add(pair.rejected);
    hash.add(pair.margin);
    hash.add(pair.weight);
    if constexpr (requires { pair.label; })
      if (pair.label != 1) hash.add(pair.label);
  }
  return hash.with_rows(pairs.size());
}

}  // namespace

Json fingerprint(std::span<const EncodedPair> pairs) { return of_pairs(pairs); }

Json fingerprint(std::span<const EncodedGroup> groups) {
  Hash hash;
  for (const EncodedGroup& group : groups) {
    hash.add(static_cast<std::uint64_t>(group.responses.size()));
    for (const TokenIds& response : group.responses) hash.add(response);
  }
  return hash.with_rows(groups.size());
}

Json fingerprint(std::span<const EncodedResponse> responses) {
  Hash hash;
  for (const EncodedResponse& response : responses) hash.add(response);
  return hash.with_rows(responses.size());
}

Json fingerprint(std::span<const EncodedResponsePair> pairs) { return of_pairs(pairs); }

Json fingerprint(std::span<const TokenIds> prompts) {
  Hash hash;
  for (const TokenIds& prompt : prompts) hash.add(prompt);
  return hash.with_rows(prompts.size());
}

Json fingerprint(std::span<const std::string> modes, std::span<const double> weights) {
  Hash hash;
  for (const std::string& mode : modes) hash.add(derive_seed(0, mode));
  for (const double weight : weights) hash.add(weight);
  return hash.with_rows(modes.size());
}

}  // namespace metarm
