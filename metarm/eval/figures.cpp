#include "metarm/eval/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace metarm {

namespace {

Json interval_json(const char* name, double value, const Interval& interval) {
  const std::string key = name;
  return {{key, value}, {key + "_low", interval.low}, {key + "_high", interval.high}};
}

Json to_json(const LengthShare& share) {
  Json json = interval_json("accuracy", share.accuracy, share.interval);
  json["pairs"] = share.pairs;
  return json;
}

Json to_json(const LengthBias& bias) {
  return {{"correlation", bias.correlation},
          {"within_correlation", bias.within_correlation},
          {"chosen_longer", to_json(bias.longer)},
          {"chosen_shorter", to_json(bias.shorter)},
          {"equal", to_json(bias.equal)}};
}

Json to_json(const DifferenceStatistics& statistics) {
  return {{"groups", statistics.groups},
          {"mean", statistics.mean},
          {"variance", statistics.variance},
          {"scaled_mean", statistics.scaled_mean},
          {"scaled_variance", statistics.scaled_variance},
          {"near_ties", statistics.near_ties},
          {"near_tie_below", statistics.near_tie},
          {"histogram", statistics.histogram},
          {"histogram_step", kHistogramStep * statistics.deviation},
          {"scaled_histogram_step", kHistogramStep}};
}

Json to_json(const RankAgreement& agreement) {
  Json json = interval_json("tau_b", agreement.tau_b, agreement.tau_b_interval);
  json.update(interval_json("accuracy", agreement.accuracy, agreement.accuracy_interval));
  json.update({{"groups", agreement.groups}, {"undefined_groups", agreement.undefined}, {"pairs", agreement.pairs}});
  return json;
}

Json to_json(const SpreadLoss& loss) {
  return {{"groups", loss.groups}, {"before", loss.before}, {"after", loss.after}, {"loss", loss.loss}, {"share_lost", loss.share_lost}};
}

Json to_json(const Estimate& estimate) { return {{"mean", estimate.mean}, {"standard_error", estimate.standard_error}}; }

Json to_json(const OutlierShare& outliers) {
  return {{"share", to_json(outliers.share)},
          {"level", outliers.level},
          {"farther", to_json(outliers.farther)},
          {"distance", to_json(outliers.distance)},
          {"reference_distance", outliers.reference_distance},
          {"responses", outliers.responses},
          {"reference_responses", outliers.reference_responses}};
}

Json to_json(const PolicyDivergence& divergence) {
  return {{"groups", divergence.groups},
          {"responses", divergence.responses},
          {"tokens", divergence.tokens},
          {"too_long", divergence.too_long},
          {"k1_per_response", to_json(divergence.k1_per_response)},
          {"k3_per_response", to_json(divergence.k3_per_response)},
          {"k1_per_token", to_json(divergence.k1_per_token)},
          {"k3_per_token", to_json(divergence.k3_per_token)}};
}

const char* benchmark_name(BenchmarkVersion version) {
  return version == BenchmarkVersion::reward_bench ? "reward-bench" : "reward-bench-2";
}

Json to_json(const BenchmarkResult& result) {
  Json json = {
      {"name", benchmark_name(result.version)}, {"average", result.average}, {"left_out", result.left_out}, {"skipped", result.skipped}};
  for (const auto& [name, subset] : result.subsets) json["subsets"][name] = {{"score", subset.score}, {"rows", subset.items}};
  if (!result.sections.empty()) json["sections"] = result.sections;
  return json;
}

Json to_json(const ResponseEvaluation& responses) {
  Json json = to_json(responses.differences);
  json["length_correlation"] = responses.length_correlation;
  if (responses.reward_std) json["reward_std"] = *responses.reward_std;
  if (responses.agreement) json["second_rm"] = to_json(*responses.agreement);
  if (responses.spread_loss) json["before"] = to_json(*responses.spread_loss);
  if (responses.outliers) json["outliers"] = to_json(*responses.outliers);
  json["skipped"] = responses.skipped;
  return json;
}

std::string share_text(double share, const Interval& interval) {
  return std::isnan(share) ? "undefined" : fmt::format("{:.3f} [{:.3f}, {:.3f}]", share, interval.low, interval.high);
}

std::string number_text(double value) { return std::isnan(value) ? "undefined" : fmt::format("{:.3f}", value); }

std::string length_text(const LengthBias& bias) {
  std::string text = fmt::format("length: correlation with the reward {}, within pairs {}", number_text(bias.correlation),
                                 number_text(bias.within_correlation));
  for (const auto& [name, share] : {std::pair("longer", &bias.longer), std::pair("shorter", &bias.shorter)})
    if (share->pairs > 0)
      text += fmt::format("; accuracy {} where chosen is {} ({} pairs)", share_text(share->accuracy, share->interval), name, share->pairs);
  return text;
}

std::string members_text(const std::optional<double>& reward_std) {
  return reward_std ? fmt::format("members: their rewards' deviation on a text {:.3f} on average\n", *reward_std) : "";
}

std::string pairs_text(const PairEvaluation& evaluation) {
  const PairStatistics& s = evaluation.statistics;
  std::string text = fmt::format("accuracy {} on {} pairs, margin {:.3f}, rewards {:.3f} ± {:.3f}\n",
                                 share_text(s.accuracy, s.accuracy_interval), s.pairs, s.mean_margin, s.mean_reward, s.reward_deviation);
  text += fmt::format("calibration: log loss {:.3f}, Brier score {:.3f}, expected error {:.3f}\n", s.loss, s.brier, s.calibration_error);
  for (const CalibrationBin& bin : s.calibration)
    text += fmt::format("  confidence {:.3f}: right {:.3f} of {} pairs\n", bin.mean_confidence, bin.accuracy, bin.pairs);
  text += length_text(evaluation.length_bias) + "\n" + members_text(evaluation.reward_std);
  if (evaluation.subsets.size() > 1)
    for (const auto& [subset, figures] : evaluation.subsets)
      text += fmt::format("  {:<16} {} on {} pairs\n", subset.empty() ? "(no subset)" : subset,
                          share_text(figures.accuracy, figures.accuracy_interval), figures.pairs);
  return text;
}

// A bar for each bin of the histogram, the longest of 40 signs.
std::string histogram_text(const DifferenceStatistics& s) {
  const std::int64_t most = *std::ranges::max_element(s.histogram);
  std::string text;
  for (std::size_t bin = 0; bin < s.histogram.size(); ++bin) {
    const std::string bar(most > 0 ? static_cast<std::size_t>((40 * s.histogram[bin] + most - 1) / most) : 0, '#');
    const char* sign = bin + 1 == s.histogram.size() ? "+" : " ";
    text += fmt::format("  {:>5.2f}{} {:>7} {}\n", static_cast<double>(bin) * kHistogramStep, sign, s.histogram[bin], bar);
  }
  return text;
}

std::string estimate_text(const Estimate& estimate) {
  return std::isnan(estimate.standard_error) ? fmt::format("{:.4f}", estimate.mean)
                                             : fmt::format("{:.4f} ± {:.4f}", estimate.mean, estimate.standard_error);
}

std::string responses_text(const ResponseEvaluation& evaluation) {
  const DifferenceStatistics& s = evaluation.differences;
  std::string text = fmt::format("reward differences of {} groups: mean {:.3f}, variance {:.3f}", s.groups, s.mean, s.variance);
  if (!s.histogram.empty())
    text +=
        fmt::format("; in units of the rewards' deviation on the pairs: mean {:.3f}, variance {:.3f}; nearer than {} of it {:.1f} %\n{}",
                    s.scaled_mean, s.scaled_variance, s.near_tie, 100 * s.near_ties, histogram_text(s));
  else
    text += "\n";
  text += fmt::format("length: correlation with the reward within groups {}\n", number_text(evaluation.length_correlation));
  text += members_text(evaluation.reward_std);
  if (const auto& second = evaluation.agreement)
    text += fmt::format("second reward model: Kendall's tau-b {} over {} groups; accuracy against it {} on {} pairs\n",
                        share_text(second->tau_b, second->tau_b_interval), second->groups,
                        share_text(second->accuracy, second->accuracy_interval), second->pairs);
  if (const auto& loss = evaluation.spread_loss)
    text += fmt::format("before: spread {} of the deviation, now {}; lost in {:.1f} % of {} groups\n", number_text(loss->before),
                        number_text(loss->after), 100 * loss->share_lost, loss->groups);
  if (const auto& outliers = evaluation.outliers)
    text += fmt::format("outliers: share {} of {} responses, {} of such as the reference's {}; farther out than one of these: {}\n",
                        estimate_text(outliers->share), outliers->responses, outliers->level, outliers->reference_responses,
                        estimate_text(outliers->farther));
  return text;
}

std::string divergence_text(const PolicyDivergence& d) {
  return fmt::format("divergence of the policies, nats: k3 {}, k1 {} a response ({} of {} groups); k3 {}, k1 {} a token ({})\n",
                     estimate_text(d.k3_per_response), estimate_text(d.k1_per_response), d.responses, d.groups,
                     estimate_text(d.k3_per_token), estimate_text(d.k1_per_token), d.tokens);
}

std::string benchmark_text(const BenchmarkResult& result) {
  std::string text = fmt::format("{}: average {}\n", benchmark_name(result.version), number_text(result.average));
  for (const auto& [section, score] : result.sections) text += fmt::format("  {:<24} {:.3f}\n", section, score);
  for (const auto& [name, subset] : result.subsets)
    text += fmt::format("  {:<24} {} on {} rows\n", name, number_text(subset.score), subset.items);
  return text;
}

}  // namespace

Json to_json(const PairStatistics& statistics) {
  Json bins = Json::array();
  for (const CalibrationBin& bin : statistics.calibration)
    bins.push_back({{"confidence", bin.mean_confidence}, {"accuracy", bin.accuracy}, {"pairs", bin.pairs}});
  Json json = interval_json("accuracy", statistics.accuracy, statistics.accuracy_interval);
  json.update({{"pairs", statistics.pairs},
               {"loss", statistics.loss},
               {"brier", statistics.brier},
               {"margin", statistics.mean_margin},
               {"reward_mean", statistics.mean_reward},
               {"reward_deviation", statistics.reward_deviation},
               {"calibration_error", statistics.calibration_error},
               {"calibration", bins}});
  return json;
}

Json to_json(const Evaluation& evaluation) {
  Json json = Json::object();
  if (!evaluation.model.empty()) json["model"] = evaluation.model;
  if (const auto& pairs = evaluation.pairs) {
    json["pairs"] = to_json(pairs->statistics);
    json["pairs"]["length"] = to_json(pairs->length_bias);
    if (pairs->reward_std) json["pairs"]["reward_std"] = *pairs->reward_std;
    json["pairs"]["skipped"] = pairs->skipped;
    if (pairs->subsets.size() > 1)
      for (const auto& [subset, figures] : pairs->subsets) json["subsets"][subset] = to_json(figures);
  }
  if (evaluation.responses) json["responses"] = to_json(*evaluation.responses);
  if (evaluation.divergence) json["divergence"] = to_json(*evaluation.divergence);
  if (evaluation.benchmark) json["benchmark"] = to_json(*evaluation.benchmark);
  return json;
}

std::string to_text(const Evaluation& evaluation) {
  std::string text;
  if (evaluation.pairs) text += pairs_text(*evaluation.pairs);
  if (evaluation.responses) text += responses_text(*evaluation.responses);
  if (evaluation.divergence) text += divergence_text(*evaluation.divergence);
  if (evaluation.benchmark) text += benchmark_text(*evaluation.benchmark);
  text.pop_back();  // the last line end is the caller's
  return text;
}

}  // namespace metarm
