// The protocol of Hugging Face's text-embeddings-inference.
#include <fmt/format.h>

#include "metarm/base/error.h"
#include "metarm/http/protocol_parts.h"
#include "metarm/http/protocols.h"

namespace metarm {

namespace {

double activated(const Json& body, float reward) { return flag(body, "raw_scores", false) ? reward : sigmoid(reward); }

// A text alone, or a pair: a prompt and a response.
ScoreItem tei_item(const Json& input, std::string where) {
  if (input.is_string()) return {{}, Content(input.get<std::string>()), TextForm::written, std::move(where)};
  if (input.size() == 1) return tei_item(input[0], std::move(where));
  if (input.size() == 2) return pair_item(input[0], input[1], std::move(where));
  fail_input("{}: expected one text or a pair of texts, got {}; texts of a batch are lists of their own", where, input.size());
}

}  // namespace

Json answer_tei_predict(const Json& body, Scoring& scoring) {
  const Json& inputs = body["inputs"];
  if (inputs.empty()) throw EmptyInput("inputs");
  const bool batch = inputs.is_array() && !inputs.empty() && inputs.front().is_array();
  std::vector<ScoreItem> items;
  if (!batch) items.push_back(tei_item(inputs, "inputs"));
  for (std::size_t i = 0; batch && i < inputs.size(); ++i) items.push_back(tei_item(inputs[i], fmt::format("inputs[{}]", i)));

  const Scores scores = scoring.score(body, std::move(items));
  Json predictions = Json::array();
  for (const auto& reward : scores.rewards)
    predictions.push_back(Json::array({{{"label", scoring.reply().label}, {"score", activated(body, *reward)}}}));
  return batch ? predictions : predictions.front();
}

Json answer_tei_rerank(const Json& body, Scoring& scoring) {
  const Json& texts = body["texts"];
  if (texts.empty()) throw EmptyInput("texts");
  std::vector<ScoreItem> items;
  for (std::size_t i = 0; i < texts.size(); ++i) items.push_back(pair_item(body["query"], texts[i], fmt::format("texts[{}]", i)));
  const Scores scores = scoring.score(body, std::move(items));
  std::vector<double> ranked;
  for (const auto& reward : scores.rewards) ranked.push_back(activated(body, *reward));

  Json results = Json::array();
  for (const std::size_t i : best_first(ranked)) {
    results.push_back({{"index", i}, {"score", ranked[i]}});
    if (flag(body, "return_text", false)) results.back()["text"] = texts[i];
  }
  return results;
}

}  // namespace metarm
