#include "metarm/collect/scored_groups.h"

#include <cmath>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/data/near_duplicates.h"
#include "metarm/data/response_part.h"

namespace metarm {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

void require_rewards(const ResponseGroup& group) {
  if (group.rewards.empty())
    fail_input("{}: rewards: expected one a response, as metarm score writes them, got no such field", group.where);
}

std::vector<double> parse_labels(const Json& row, std::size_t responses, const std::string& where) {
  std::vector<double> labels(responses, kNone);
  if (!row.contains("labels") || row["labels"].is_null()) return labels;
  const Json& values = row["labels"];
  if (!values.is_array() || values.size() != responses)
    fail_input("{}: labels: expected a list of {} numbers, one a response, got {}", where, responses,
               values.is_array() ? fmt::format("{}", values.size()) : std::string(json_type_name(values)));
  for (std::size_t i = 0; i < responses; ++i) {
    if (!values[i].is_number() && !values[i].is_null())
      fail_input("{}: labels[{}]: expected a number or null, got {}", where, i, json_type_name(values[i]));
    if (values[i].is_number()) labels[i] = values[i].get<double>();
  }
  return labels;
}

// The rewards of a file's responses, by prompt and text.
class RewardTable {
 public:
  RewardTable(const std::vector<std::string>& files, BadRows bad_rows, std::vector<BadRowReport>& reports) {
    reports.push_back(for_each_row(files, bad_rows, [&](const JsonRow& row) {
      const ResponseGroup group = parse_response_group(row, 1);
      require_rewards(group);
      for (std::size_t i = 0; i < group.responses.size(); ++i) rewards_.emplace(key(group, i), group.rewards[i]);
    }));
  }

  std::optional<double> find(const ResponseGroup& group, std::size_t response) const {
    const auto found = rewards_.find(key(group, response));
    return found == rewards_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  static std::string key(const ResponseGroup& group, std::size_t response) {
    return to_json(group.prompt).dump() + '\n' + to_json(group.responses[response]).dump();
  }
  std::unordered_map<std::string, double> rewards_;
};

class GroupReader {
 public:
  explicit GroupReader(const ScoredGroupFiles& files) : files_(files) {
    for (const std::string& file : files.ensemble) ensemble_.emplace_back(std::vector{file}, files.bad_rows, read_.reports);
    if (!files.gold.empty()) gold_.emplace(files.gold, files.bad_rows, read_.reports);
  }

  ScoredGroups read() {
    read_.reports.push_back(for_each_row(files_.groups, files_.bad_rows, [&](const JsonRow& row) { add(row); }));
    if (gold_ && !gold_found_) fail_input("{}: expected responses of --groups, got none of them", files_.gold.front());
    return std::move(read_);
  }

 private:
  void add(const JsonRow& row) {
    ScoredGroup all{parse_response_group(row, 1), {}, {}};
    require_rewards(all.group);
    if (all.group.form != TextForm::response)
      fail_input("{}: text_form: expected response, since a pair's texts always get their end token, got {}", all.group.where,
                 to_text(all.group.form));
    all.rewards.push_back(all.group.rewards);
    for (std::size_t model = 0; model < ensemble_.size(); ++model) all.rewards.push_back(ensemble_rewards(all.group, model));
    all.labels = gold_ ? gold_rewards(all.group) : parse_labels(row.value, all.group.responses.size(), row.where());
    read_.groups.push_back(kept_responses(all));
  }

  std::vector<double> ensemble_rewards(const ResponseGroup& group, std::size_t model) const {
    std::vector<double> rewards;
    for (std::size_t i = 0; i < group.responses.size(); ++i) {
      const std::optional<double> reward = ensemble_[model].find(group, i);
      if (!reward) fail_input("{}: responses[{}]: expected it in {} too, got none", group.where, i, files_.ensemble[model]);
      rewards.push_back(*reward);
    }
    return rewards;
  }

  std::vector<double> gold_rewards(const ResponseGroup& group) {
    std::vector<double> labels;
    for (std::size_t i = 0; i < group.responses.size(); ++i) {
      labels.push_back(gold_->find(group, i).value_or(kNone));
      gold_found_ = gold_found_ || !std::isnan(labels.back());
    }
    return labels;
  }

  ScoredGroup kept_responses(const ScoredGroup& all) {
    ScoredGroup kept{all.group, std::vector<std::vector<double>>(all.rewards.size()), {}};
    std::vector<std::size_t> places;
    NearDuplicates near_duplicates(files_.max_overlap, files_.shingle_words);
    for (std::size_t i = 0; i < all.group.responses.size(); ++i) {
      if (!is_scored(all, i)) {
        ++read_.not_scored;
      } else if (near_duplicates.is_one(all.group.prompt, all.group.responses[i])) {
        ++read_.near_duplicates;
      } else {
        places.push_back(i);
        for (std::size_t model = 0; model < all.rewards.size(); ++model) kept.rewards[model].push_back(all.rewards[model][i]);
        kept.labels.push_back(all.labels[i]);
      }
    }
    keep_responses(kept.group, places);
    return kept;
  }

  static bool is_scored(const ScoredGroup& group, std::size_t response) {
    for (const std::vector<double>& rewards : group.rewards)
      if (!std::isfinite(rewards[response])) return false;
    return true;
  }

  const ScoredGroupFiles& files_;
  std::vector<RewardTable> ensemble_;
  std::optional<RewardTable> gold_;
  bool gold_found_ = false;
  ScoredGroups read_;
};

}  // namespace

ScoredGroups read_scored_groups(const ScoredGroupFiles& files) { return GroupReader(files).read(); }

}  // namespace metarm
