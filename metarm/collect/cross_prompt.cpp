#include "metarm/collect/cross_prompt.h"

#include <algorithm>
#include <set>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/data/response_part.h"

namespace metarm {

namespace {

// A row with its parts as texts.
struct Parts {
  const Pair* pair;
  std::string prompt, chosen, rejected;
};

class RowTriplets {
 public:
  RowTriplets(const Parts& own, const Parts& j, const Parts& k, const CrossPromptShares& shares, RandomStream stream,
              CrossPromptPairs& made)
      : own_(own), j_(j), k_(k), shares_(shares), stream_(stream), made_(made) {}

  void add_all() {
    for (const Parts* other : {&j_, &k_})
      for (const std::string* text : {&other->chosen, &other->rejected}) {
        add_better("cross-chosen", shares_.chosen, own_.pair->chosen, own_.chosen, *other, *text);
        add_better("cross-rejected", shares_.rejected, own_.pair->rejected, own_.rejected, *other, *text);
      }
    add_tie(j_, j_.chosen, j_, j_.rejected);
    add_tie(k_, k_.chosen, k_, k_.rejected);
    add_tie(j_, j_.chosen, k_, k_.chosen);
    add_tie(j_, j_.chosen, k_, k_.rejected);
    add_tie(k_, k_.chosen, j_, j_.rejected);
    add_tie(j_, j_.rejected, k_, k_.rejected);
  }

 private:
  bool draws(double share) { return stream_.uniform() < share; }
  Content in_place(const Content& like, const std::string& text) const { return with_response_text(own_.pair->prompt, like, text); }

  void add_better(const char* kind, double share, const Content& better, const std::string& better_text, const Parts& other,
                  const std::string& other_text) {
    if (!draws(share)) return;
    if (other.prompt == own_.prompt || other_text == better_text) {
      ++made_.same_prompt;
      return;
    }
    add(kind, better, in_place(better, other_text), {row_name(*other.pair)});
  }

  void add_tie(const Parts& first, const std::string& first_text, const Parts& second, const std::string& second_text) {
    if (!draws(shares_.neutral)) return;
    if (first.prompt == own_.prompt || second.prompt == own_.prompt || first_text == second_text) {
      ++made_.same_prompt;
      return;
    }
    const Content& like = own_.pair->chosen;
    add("cross-neutral", in_place(like, first_text), in_place(like, second_text), {row_name(*first.pair), row_name(*second.pair)});
    made_.pairs.back().tie = true;
  }

  void add(const char* kind, Content chosen, Content rejected, std::vector<std::string> others) {
    CollectedPair pair{.pair = *own_.pair, .kind = kind, .confidence = {}, .others = std::move(others), .tie = false, .row = {}};
    pair.pair.chosen = std::move(chosen);
    pair.pair.rejected = std::move(rejected);
    pair.pair.margin = 0;
    pair.pair.weight = 1;
    made_.pairs.push_back(std::move(pair));
  }

  const Parts &own_, &j_, &k_;
  const CrossPromptShares& shares_;
  RandomStream stream_;
  CrossPromptPairs& made_;
};

std::vector<Parts> list_parts(std::span<const CollectedPair> rows) {
  std::vector<Parts> parts;
  std::set<std::string> prompts;
  for (const CollectedPair& row : rows) {
    const Pair& pair = row.pair;
    parts.push_back({&pair, prompt_key(pair), response_text(pair.prompt, pair.chosen), response_text(pair.prompt, pair.rejected)});
    prompts.insert(parts.back().prompt);
  }
  if (prompts.size() < 2)
    fail_input("pairs: expected at least two prompts, since responses to others are asked for, got {}", prompts.size());
  return parts;
}

}  // namespace

CrossPromptPairs make_cross_prompt_pairs(std::span<const CollectedPair> rows, const CrossPromptShares& shares, std::uint64_t seed) {
  const std::vector<Parts> parts = list_parts(rows);
  const std::vector<std::int64_t> circle = permutation(static_cast<std::int64_t>(parts.size()), RandomStream(seed, "cross-prompt circle"));
  std::vector<std::size_t> place(parts.size());
  for (std::size_t i = 0; i < circle.size(); ++i) place[static_cast<std::size_t>(circle[i])] = i;

  CrossPromptPairs made;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto after = [&](std::size_t steps) -> const Parts& {
      return parts[static_cast<std::size_t>(circle[(place[i] + steps) % circle.size()])];
    };
    RowTriplets(parts[i], after(1), after(2), shares, RandomStream(seed, "cross-prompt draw", i), made).add_all();
  }
  return made;
}

}  // namespace metarm
