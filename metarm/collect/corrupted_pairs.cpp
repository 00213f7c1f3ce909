#include "metarm/collect/corrupted_pairs.h"

#include <functional>
#include <optional>
#include <utility>

#include "metarm/base/random.h"
#include "metarm/collect/corruption.h"
#include "metarm/collect/name_swap.h"
#include "metarm/data/response_part.h"

namespace metarm {

namespace {

struct Corruption {
  const char* kind;
  double share;
  std::function<std::optional<std::string>(const std::string& text, RandomStream stream)> apply;
};

std::vector<Corruption> list_corruptions(const SyntheticOptions& options, const NamePool& pool) {
  return {{"truncated", options.truncate_share,
           [&](const std::string& text, RandomStream) { return truncate_response(text, options.truncate_strength); }},
          {"repeated", options.repeat_share,
           [&](const std::string& text, RandomStream stream) { return repeat_sentences(text, options.repeat_strength, stream); }},
          {"shuffled", options.shuffle_share,
           [&](const std::string& text, RandomStream stream) { return shuffle_sentences(text, options.shuffle_strength, stream); }},
          {"swapped", options.swap_share,
           [&](const std::string& text, RandomStream stream) { return swap_names(text, options.swap_strength, pool, stream); }}};
}

}  // namespace

CorruptedPairs make_corrupted_pairs(std::span<const CollectedPair> rows, const SyntheticOptions& options, std::uint64_t seed) {
  std::vector<std::string> texts;
  for (const CollectedPair& row : rows) texts.push_back(response_text(row.pair.prompt, row.pair.chosen));
  const NamePool pool = options.swap_share > 0 ? make_name_pool(texts) : NamePool{};

  CorruptedPairs made;
  for (const Corruption& corruption : list_corruptions(options, pool))
    for (std::size_t i = 0; i < rows.size(); ++i) {
      RandomStream stream(seed, corruption.kind, i);
      if (stream.uniform() >= corruption.share) continue;
      const std::optional<std::string> changed = corruption.apply(texts[i], RandomStream(stream.next()));
      if (!changed) {
        ++made.not_changed[corruption.kind];
        continue;
      }
      CollectedPair pair{.pair = rows[i].pair, .kind = corruption.kind, .confidence = {}, .others = {}, .tie = false, .row = {}};
      pair.pair.rejected = with_response_text(pair.pair.prompt, pair.pair.chosen, *changed);
      pair.pair.margin = 0;
      pair.pair.weight = 1;
      made.pairs.push_back(std::move(pair));
    }
  return made;
}

}  // namespace metarm
