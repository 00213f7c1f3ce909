#include "metarm/collect/label_accuracy.h"

#include <algorithm>

namespace metarm {

namespace {

void count(LabelCount& into, const PseudoPair& pair) {
  ++into.pairs;
  into.right += *pair.right ? 1 : 0;
  into.confidence += pair.confidence;
}

Json to_json(const LabelCount& count) {
  const auto mean = [&](double sum) { return count.pairs > 0 ? Json(sum / static_cast<double>(count.pairs)) : Json(nullptr); };
  return {{"pairs", count.pairs},
          {"right", count.right},
          {"accuracy", mean(static_cast<double>(count.right))},
          {"confidence", mean(count.confidence)}};
}

}  // namespace

void LabelAccuracy::add(const PseudoPair& pair) {
  if (!pair.right) {
    ++not_labelled;
    return;
  }
  count(all, pair);
  std::size_t bin = 0;
  for (const double edge : {0.6, 0.7, 0.8, 0.9}) bin += pair.confidence >= edge ? 1 : 0;
  count(bins[bin], pair);
}

Json to_json(const LabelAccuracy& accuracy) {
  Json json = to_json(accuracy.all);
  json["not_labelled"] = accuracy.not_labelled;
  json["bins"] = Json::array();
  for (std::size_t i = 0; i < accuracy.bins.size(); ++i) {
    if (accuracy.bins[i].pairs == 0) continue;
    json["bins"].push_back(to_json(accuracy.bins[i]));
    json["bins"].back()["from"] = static_cast<double>(i + 5) / 10;
  }
  return json;
}

}  // namespace metarm
