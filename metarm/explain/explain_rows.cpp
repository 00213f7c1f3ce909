#include "metarm/explain/explain_rows.h"

#include <optional>
#include <utility>

namespace metarm {

namespace {

Json own_fields(const Pair& pair) {
  Json row = {{"chosen", to_json(pair.chosen)}, {"rejected", to_json(pair.rejected)}, {"where", pair.where}};
  if (pair.prompt) row["prompt"] = to_json(*pair.prompt);
  if (pair.margin != 0) row["margin"] = pair.margin;
  if (pair.weight != 1) row["weight"] = pair.weight;
  if (!pair.subset.empty()) row["subset"] = pair.subset;
  if (!pair.id.empty()) row["id"] = pair.id;
  return row;
}

ExplainRow make_group_row(const ResponseGroup& group, Encoder& encoder) {
  ExplainRow row;
  row.json = to_json(group);
  row.json["where"] = row.where = group.where;
  row.responses = group.responses.size();
  for (std::size_t place = 0; place < group.responses.size(); ++place) {
    std::optional<TokenIds> tokens = encoder.sequence(group, place);
    if (!tokens) continue;
    row.sequences.push_back(std::move(*tokens));
    row.places.push_back(place);
  }
  return row;
}

}  // namespace

Json ExplainRow::by_response(std::span<const Json> values) const {
  Json list(responses, nullptr);
  for (std::size_t i = 0; i < values.size(); ++i) list[places[i]] = values[i];
  return list;
}

std::vector<ExplainRow> make_explain_rows(const std::vector<Pair>& pairs, const std::vector<ResponseGroup>& groups, Encoder& encoder) {
  std::vector<ExplainRow> rows;
  for (EncodedPair& pair : encoder.pairs(pairs)) {
    const Pair& own = pairs[static_cast<std::size_t>(pair.row)];
    rows.push_back({own_fields(own), own.where, true, {std::move(pair.chosen), std::move(pair.rejected)}, {0, 1}, 2});
  }
  for (const ResponseGroup& group : groups)
    if (ExplainRow row = make_group_row(group, encoder); !row.sequences.empty()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace metarm
