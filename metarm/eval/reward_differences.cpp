#include "metarm/eval/reward_differences.h"

#include <algorithm>
#include <string>

#include "metarm/data/response_part.h"
#include "metarm/eval/evaluate.h"

namespace metarm {

namespace {

constexpr std::size_t kMostOfATree = 64;  // pairs: a response is looked for among the others

// Pairs of one prompt, and their responses, each once.
class Tree {
 public:
  void add(const Pair& pair, Encoder& encoder) {
    places_.push_back({place_of(pair, pair.chosen, encoder), place_of(pair, pair.rejected, encoder)});
  }
  bool is_full() const { return places_.size() == kMostOfATree; }
  std::int64_t tokens() const { return tokens_; }
  const std::vector<TokenIds>& sequences() const { return sequences_; }

  void append_differences(const std::vector<float>& rewards, std::vector<std::optional<double>>& differences) const {
    for (const auto& [chosen, rejected] : places_)
      differences.push_back(chosen && rejected ? std::optional(static_cast<double>(rewards[*chosen]) - rewards[*rejected]) : std::nullopt);
  }

 private:
  struct Places {
    std::optional<std::size_t> chosen, rejected;  // among the sequences
  };
  struct Response {
    const Content* content;
    std::optional<std::size_t> place;
  };

  std::optional<std::size_t> place_of(const Pair& pair, const Content& content, Encoder& encoder) {
    for (const Response& response : responses_)
      if (*response.content == content) return response.place;
    std::optional<std::size_t> place;
    if (std::optional<TokenIds> sequence = encoder.sequence(pair.prompt, content, pair.where)) {
      place = sequences_.size();
      tokens_ += static_cast<std::int64_t>(sequence->size());
      sequences_.push_back(*std::move(sequence));
    }
    responses_.push_back({&content, place});
    return place;
  }

  std::vector<Places> places_;
  std::vector<Response> responses_;
  std::vector<TokenIds> sequences_;
  std::int64_t tokens_ = 0;
};

}  // namespace

std::vector<std::optional<double>> reward_differences(Ranks& ranks, const Scorer& scorer, Encoder& encoder,
                                                      std::span<const Pair* const> pairs, std::int64_t tokens_per_batch, Log& log) {
  std::vector<std::optional<double>> differences;
  std::vector<Tree> block;
  std::int64_t tokens = 0;
  std::string prompt;
  const auto score_block = [&] {
    std::vector<std::vector<TokenIds>> sequences;
    for (const Tree& tree : block) sequences.push_back(tree.sequences());
    const GroupRewards scored = score_groups(ranks, scorer, sequences, tokens_per_batch);
    for (std::size_t i = 0; i < block.size(); ++i) block[i].append_differences(scored.rewards[i], differences);
    log.progress("scoring", static_cast<std::int64_t>(differences.size()), static_cast<std::int64_t>(pairs.size()), "");
    block.clear();
    tokens = 0;
  };
  for (const Pair* pair : pairs) {
    const std::string key = prompt_key(*pair);
    if (block.empty() || key != prompt || block.back().is_full()) {
      if (tokens >= 16 * tokens_per_batch * ranks.size()) score_block();
      block.emplace_back();
      prompt = key;
    }
    const std::int64_t before = block.back().tokens();
    block.back().add(*pair, encoder);
    tokens += block.back().tokens() - before;
  }
  if (!block.empty()) score_block();
  for (const std::string& note : encoder.report().notes()) log.info(note);
  return differences;
}

}  // namespace metarm
