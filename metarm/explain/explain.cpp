#include "metarm/explain/explain.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/stopwatch.h"
#include "metarm/eval/k_means.h"
#include "metarm/eval/quantile.h"
#include "metarm/explain/explained_model.h"
#include "metarm/explain/principal_plane.h"
#include "metarm/model/ensemble_config.h"
#include "metarm/model/lora.h"

namespace metarm {

namespace {

void check_options(const ExplainOptions& options, const Parsed& parsed) {
  if (options.pairs.empty() && options.responses.empty()) fail_input("explain: expected --pairs or --responses, got neither");
  for (const auto& [name, model] : {std::pair("model", &options.model), std::pair("compare", &options.compare)})
    if (!model->empty() && is_ensemble(*model))
      fail_input("explain: --{} {}: expected one reward model, got an ensemble; explain its members one by one", name, *model);
  if (options.influence && options.pairs.empty())
    fail_input("explain: --influence: expected --pairs with it, whose reward differences are pulled, got none");
  if (parsed.given.contains("projection") && options.influence_weights != InfluenceWeights::lora)
    fail_input("explain: --projection: expected --influence-weights lora with it, got {}; it has no effect so",
               enum_name(options.influence_weights));
  if (options.influence_weights == InfluenceWeights::lora && !is_adapter(options.model))
    fail_input(
        "explain: --influence-weights lora: expected an adapter as --model, got {}, which has no adapter_config.json; "
        "--influence-weights head takes any reward model",
        options.model);
  const bool explains_more = !options.compare.empty() || options.influence || options.map;
  if (options.attribution == AttributionChoice::none && !explains_more)
    fail_input(
        "explain: --attribution none: expected --compare, --influence or --map with it, got none; `metarm score` gives rewards alone");
  for (const char* option : {"points", "tolerance"})
    if (parsed.given.contains(option) && options.attribution != AttributionChoice::integrated)
      fail_input("explain: --{}: expected --attribution integrated with it, got {}; it has no effect so", option,
                 enum_name(options.attribution));
  if (options.points > 0 && parsed.given.contains("tolerance"))
    fail_input("explain: --tolerance: expected --points 0 with it, got {}; it has no effect so", options.points);
}

ErrorSummary summarise(std::vector<double> errors) {
  if (errors.empty()) return {};
  std::ranges::sort(errors);
  return {static_cast<std::int64_t>(errors.size()), quantile(errors, 0.5), errors.back()};
}

class Explainer {
 public:
  Explainer(const ExplainOptions& options, Log& log) : options_(options), log_(log), output_(options.output) {
    if (!options.pairs.empty()) pairs_ = read_pairs(options.pairs, options.scoring.bad_rows());
    if (!options.responses.empty()) groups_ = read_response_groups(options.responses, options.scoring.bad_rows(), 1);
    if (options.influence) training_ = read_pairs(options.train_pairs, options.scoring.bad_rows());
    for (const BadRowReport* report : {&pairs_.report, &groups_.report, &training_.report}) {
      log_skipped(*report, log);
      summary_.skipped += report->skipped;
    }
    if (options.compare.empty()) take_first();
    model_.emplace(options.model, options, log);
    rows_ = make_rows(*model_, "--pairs and --responses", pairs_.rows, groups_.rows);
    model_->score(rows_);
  }

  ExplainSummary run() {
    std::vector<std::size_t> order(rows_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (!options_.compare.empty()) order = compare();
    if (options_.influence) find_pull(order);
    if (options_.map) find_places(order);
    for (std::size_t i = 0; i < order.size(); ++i) {
      write(order[i]);
      log_.progress("explaining", static_cast<std::int64_t>(i + 1), static_cast<std::int64_t>(order.size()), rows_[order[i]].where);
    }
    output_.commit();
    return finish();
  }

 private:
  void take_first() {
    if (options_.limit == 0) return;
    const auto most = static_cast<std::size_t>(options_.limit);
    pairs_.rows.resize(std::min(pairs_.rows.size(), most));
    groups_.rows.resize(std::min(groups_.rows.size(), most));
  }

  std::vector<ExplainRow> make_rows(const ExplainedModel& model, const char* option, const std::vector<Pair>& pairs,
                                    const std::vector<ResponseGroup>& groups) const {
    std::vector<ExplainRow> rows = model.make_rows(pairs, groups);
    if (rows.empty())
      fail_input("{}: expected rows that fit in --max-length {}, got none of {}", option, options_.scoring.max_length,
                 pairs.size() + groups.size());
    return rows;
  }

  // Scores the rows by the other model; the rows to explain, those that changed most first.
  std::vector<std::size_t> compare() {
    other_.emplace(options_.compare, options_, log_);
    const std::vector<ExplainRow> rows = make_rows(*other_, "--pairs and --responses", pairs_.rows, groups_.rows);
    for (std::size_t i = 0; i < rows_.size(); ++i)
      if (i >= rows.size() || rows[i].where != rows_[i].where || rows[i].sequences != rows_[i].sequences)
        fail_input("{}: --compare: expected the same tokens from {} and {}, got others; models of one tokenizer can be compared",
                   rows_[i].where, options_.model, options_.compare);
    other_->score(rows_);
    for (const ExplainedModel* model : {&*model_, &*other_})
      if (!(model->scale().deviation > 0))
        fail_input("--compare: expected rewards that differ, whose deviation is the unit, got equal ones by {}", model->directory());
    std::vector<RowChange> changes;
    for (std::size_t i = 0; i < rows_.size(); ++i)
      changes.push_back(row_change(model_->rewards()[i], other_->rewards()[i], model_->scale(), other_->scale()));
    summarise_changes(changes);
    std::vector<std::size_t> order = order_by_change(changes);
    if (options_.limit > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(options_.limit)));
    return order;
  }

  void summarise_changes(const std::vector<RowChange>& changes) {
    ChangeSummary all;
    double rows = 0;
    for (const RowChange& change : changes) {
      all.differences += change.differences;
      all.flips += change.flips;
      all.mean += std::abs(change.difference);
      rows += change.differences > 0;
    }
    if (rows > 0) all.mean /= rows;
    summary_.change = all;
  }

  void find_pull(const std::vector<std::size_t>& order) {
    const std::vector<ExplainRow> training = make_rows(*model_, "--train-pairs", training_.rows, {});
    summary_.train_pairs = static_cast<std::int64_t>(training.size());
    std::vector<const ExplainRow*> pairs, all;
    std::vector<std::size_t> places;
    for (const std::size_t row : order) {
      if (!rows_[row].is_pair) continue;
      pairs.push_back(&rows_[row]);
      places.push_back(row);
    }
    if (pairs.empty()) return;
    for (const ExplainRow& row : training) all.push_back(&row);
    const PairGradients of_training = training_gradients(all);
    const std::vector<Influences> found =
        find_influences(model_->gradients(pairs, false), of_training, options_.influence_by, options_.top);
    for (std::size_t i = 0; i < found.size(); ++i) rows_[places[i]].json["influence"] = influence_json(found[i], training);
  }

  PairGradients training_gradients(const std::vector<const ExplainRow*>& pairs) {
    if (options_.index.empty()) return model_->gradients(pairs, true);
    const GradientSource source = model_->gradient_source(pairs);
    if (std::filesystem::exists(options_.index)) {
      log_.info(fmt::format("{}: gradients of {} training pairs", options_.index, pairs.size()));
      return load_gradient_index(options_.index, source);
    }
    PairGradients gradients = model_->gradients(pairs, true);
    save_gradient_index(options_.index, source, gradients);
    return gradients;
  }

  void find_places(const std::vector<std::size_t>& order) {
    std::vector<const ExplainRow*> mapped;
    for (const std::size_t row : order) mapped.push_back(&rows_[row]);
    const at::Tensor hidden_BD = model_->hidden(mapped);
    if (hidden_BD.size(0) < 3) fail_input("--map: expected at least 3 responses, got {}", hidden_BD.size(0));
    const PrincipalPlane plane = principal_plane(hidden_BD);
    summary_.explained_variance = plane.explained_variance;
    if (options_.clusters > 0) find_clusters(order, hidden_BD.to(at::kDouble));
    const auto points = plane.point_B2.accessor<double, 2>();
    std::int64_t next = 0;
    for (const std::size_t index : order) {
      ExplainRow& row = rows_[index];
      std::vector<Json> of_row;
      for (std::size_t i = 0; i < row.sequences.size(); ++i, ++next) of_row.push_back({points[next][0], points[next][1]});
      if (row.is_pair)
        row.json.update({{"chosen_map", of_row[0]}, {"rejected_map", of_row[1]}});
      else
        row.json["map"] = row.by_response(of_row);
    }
  }

  // Of the rows with two responses or more, in their files' order, by the means of these responses' hidden states, as metarm/meta's
  // shifted_groups takes them.
  void find_clusters(const std::vector<std::size_t>& order, const at::Tensor& hidden_BD) {
    std::map<std::size_t, at::Tensor> mean_of_row;
    std::int64_t next = 0;
    for (const std::size_t index : order) {
      const std::int64_t count = std::ssize(rows_[index].sequences), first = std::exchange(next, next + count);
      if (count >= 2) mean_of_row[index] = hidden_BD.narrow(0, first, count).mean(0);
    }
    if (std::ssize(mean_of_row) < options_.clusters)
      fail_input("--clusters: expected no more than the {} rows of two responses, got {}", mean_of_row.size(), options_.clusters);
    std::vector<at::Tensor> means;
    for (const auto& [index, mean_D] : mean_of_row) means.push_back(mean_D);
    const std::vector<std::int64_t> clusters =
        k_means(at::stack(means), options_.clusters, static_cast<std::uint64_t>(options_.common.seed));
    std::size_t place = 0;
    for (const auto& [index, mean_D] : mean_of_row) rows_[index].json["cluster"] = std::to_string(clusters[place++] + 1);
  }

  void write(std::size_t index) {
    const ExplainRow& row = rows_[index];
    const std::vector<TokenPieces> pieces =
        options_.attribution == AttributionChoice::none ? std::vector<TokenPieces>{} : model_->pieces(row);
    const RowRewards made = model_->explain(row, index);
    Json json = row.json;
    add(json, row, made, pieces);
    if (other_) {
      const RowRewards others = other_->explain(row, index);
      add(json["compare"], row, others, pieces);
      json["change"] = change_json(row, made, others);
    }
    output_.write(json.dump() + "\n");
    ++(row.is_pair ? summary_.pairs : summary_.groups);
  }

  void add(Json& json, const ExplainRow& row, const RowRewards& made, const std::vector<TokenPieces>& pieces) {
    const Json rewards = rewards_json(row, made, pieces);
    json.update(rewards);
    for (const Attribution& attribution : made.attributions) reward_errors_.push_back(attribution.error());
    if (rewards.contains("difference_attribution")) difference_errors_.push_back(rewards["difference_attribution"]["error"].get<double>());
  }

  ExplainSummary finish() {
    const auto above = [&](double error) { return options_.attribution == AttributionChoice::integrated && error > options_.tolerance; };
    for (const std::vector<double>* errors : {&reward_errors_, &difference_errors_})
      summary_.above_tolerance += std::ranges::count_if(*errors, above);
    if (summary_.above_tolerance > 0)
      log_.warn(
          fmt::format("{} of {} attributions do not add up to within {}: their `error` says how far they can be trusted; those of "
                      "--attribution prefix add up exactly",
                      summary_.above_tolerance, reward_errors_.size() + difference_errors_.size(), options_.tolerance));
    summary_.reward_errors = summarise(reward_errors_);
    summary_.difference_errors = summarise(difference_errors_);
    summary_.seconds = stopwatch_.seconds();
    return summary_;
  }

  const ExplainOptions& options_;
  Log& log_;
  Stopwatch stopwatch_;
  AtomicFile output_;
  Rows<Pair> pairs_, training_;
  Rows<ResponseGroup> groups_;
  std::optional<ExplainedModel> model_, other_;
  std::vector<ExplainRow> rows_;
  std::vector<double> reward_errors_, difference_errors_;
  ExplainSummary summary_;
};

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string error_text(const ErrorSummary& errors, const char* what) {
  return fmt::format("completeness error of {} {}: median {}, at most {}", errors.count, what, percent(errors.median),
                     percent(errors.largest));
}

}  // namespace

ExplainSummary explain(const ExplainOptions& options, const Parsed& parsed, Log& log) {
  check_options(options, parsed);
  return Explainer(options, log).run();
}

Json to_json(const ExplainSummary& summary) {
  Json json = {{"pairs", summary.pairs}, {"groups", summary.groups}, {"skipped", summary.skipped}, {"seconds", summary.seconds}};
  for (const auto& [name, errors] :
       {std::pair("reward_errors", summary.reward_errors), std::pair("difference_errors", summary.difference_errors)})
    if (errors.count > 0) json[name] = {{"count", errors.count}, {"median", errors.median}, {"largest", errors.largest}};
  if (summary.reward_errors.count > 0) json["above_tolerance"] = summary.above_tolerance;
  if (summary.change)
    json["change"] = {{"differences", summary.change->differences}, {"flips", summary.change->flips}, {"mean", summary.change->mean}};
  if (summary.explained_variance) json["explained_variance"] = *summary.explained_variance;
  if (summary.train_pairs > 0) json["train_pairs"] = summary.train_pairs;
  return json;
}

std::string to_text(const ExplainSummary& summary) {
  std::string text = fmt::format("explained {} pairs and {} response groups in {:.1f} s", summary.pairs, summary.groups, summary.seconds);
  if (summary.reward_errors.count > 0) text += fmt::format("\n{}", error_text(summary.reward_errors, "rewards"));
  if (summary.difference_errors.count > 0) text += fmt::format("\n{}", error_text(summary.difference_errors, "reward differences"));
  if (summary.change)
    text += fmt::format("\n{} of {} orders turned round; reward differences changed by {:.3f} deviations, on average over rows",
                        summary.change->flips, summary.change->differences, summary.change->mean);
  if (summary.train_pairs > 0) text += fmt::format("\npulled by {} training pairs", summary.train_pairs);
  if (summary.explained_variance)
    text += fmt::format("\nthe map's two axes hold {} and {} of the hidden states' variance", percent((*summary.explained_variance)[0]),
                        percent((*summary.explained_variance)[1]));
  return text;
}

}  // namespace metarm
