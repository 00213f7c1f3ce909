#include "metarm/collect/collected_pair.h"

#include <utility>

namespace metarm {

namespace {

Json to_row(const CollectedPair& collected, const Content& chosen, const Content& rejected, double weight) {
  const Pair& pair = collected.pair;
  Json row = collected.row.value_or(Json::object());
  if (!collected.row) {
    if (pair.prompt) row["prompt"] = to_json(*pair.prompt);
    row.update({{"chosen", to_json(chosen)}, {"rejected", to_json(rejected)}});
    if (pair.margin != 0) row["margin"] = pair.margin;
    if (!pair.subset.empty()) row["subset"] = pair.subset;
  }
  if (weight != 1 || row.contains("weight")) row["weight"] = weight;
  if (row.contains("origin")) return row;
  Json& origin = row["origin"] = {{"kind", collected.kind}, {"row", row_name(pair)}};
  if (!collected.others.empty()) origin["others"] = collected.others;
  if (collected.confidence) origin["confidence"] = *collected.confidence;
  if (collected.tie) origin["tie"] = true;
  return row;
}

}  // namespace

std::string row_name(const Pair& pair) { return pair.id.empty() ? pair.where : pair.id; }

Origin read_origin(const Json& row) {
  Origin read;
  const Json origin = row.value("origin", Json());
  if (!origin.is_object()) return read;  // another program's
  read.tie = origin.value("kind", Json()) == "cross-neutral" || origin.value("tie", Json()) == true;
  if (const Json confidence = origin.value("confidence", Json()); confidence.is_number()) read.confidence = confidence.get<double>();
  return read;
}

std::vector<Json> to_rows(const CollectedPair& collected) {
  const Pair& pair = collected.pair;
  if (!collected.tie || collected.row) return {to_row(collected, pair.chosen, pair.rejected, pair.weight)};
  return {to_row(collected, pair.chosen, pair.rejected, pair.weight / 2), to_row(collected, pair.rejected, pair.chosen, pair.weight / 2)};
}

}  // namespace metarm
