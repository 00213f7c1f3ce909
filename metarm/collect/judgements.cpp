#include "metarm/collect/judgements.h"

#include <cmath>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/collect/temperature.h"

namespace metarm {

namespace {

Pair as_pair(const JsonRow& row, bool a_won) {
  const std::string where = row.where();
  Prompt prompt = parse_prompt(row);
  const Content a = parse_content(require_field(row.value, "a", where), "a", where);
  const Content b = parse_content(require_field(row.value, "b", where), "b", where);
  Pair pair;
  pair.prompt = std::move(prompt.prompt);
  pair.chosen = a_won ? a : b;
  pair.rejected = a_won ? b : a;
  pair.subset = std::move(prompt.subset);
  pair.id = std::move(prompt.id);
  pair.where = where;
  return pair;
}

void add_judgement(const JsonRow& row, double temperature, Judgements& judgements) {
  const Json& value = require_field(row.value, "outcome", row.where());
  const std::string outcome = value.is_null() ? "" : text_field(row.value, "outcome", row.where());
  if (!value.is_null() && outcome != "win" && outcome != "tie" && outcome != "lose")
    fail_input("{}: outcome: expected win, tie, lose or null, got {}", row.where(), outcome);
  CollectedPair judged{
      .pair = as_pair(row, outcome != "lose"), .kind = "judged", .confidence = {}, .others = {}, .tie = outcome == "tie", .row = {}};
  if (value.is_null() || judged.pair.chosen == judged.pair.rejected) {
    ++judgements.not_judged;
    return;
  }
  if (!judged.tie && row.value.contains("a_reward"))
    judged.confidence = prob_better(
        std::abs(number_field(row.value, "a_reward", row.where()) - number_field(row.value, "b_reward", row.where())), temperature);
  judgements.pairs.push_back(std::move(judged));
}

}  // namespace

Judgements read_judgements(const std::vector<std::string>& files, BadRows bad_rows, double temperature) {
  Judgements judgements;
  judgements.report = for_each_row(files, bad_rows, [&](const JsonRow& row) { add_judgement(row, temperature, judgements); });
  return judgements;
}

}  // namespace metarm
