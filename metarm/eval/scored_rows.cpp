#include "metarm/eval/scored_rows.h"

#include <fmt/format.h>

#include <functional>
#include <optional>

#include "metarm/base/error.h"
#include "metarm/base/stopwatch.h"
#include "metarm/eval/evaluate.h"

namespace metarm {

namespace {

// A row, and its sequences that can be scored, each with its place among the row's texts.
struct PendingRow {
  Json row;
  RowKind kind;
  std::vector<std::optional<TokenIds>> sequences;
};

std::vector<std::optional<TokenIds>> encode_row(const JsonRow& row, RowKind kind, Encoder& encoder) {
  const std::string where = row.where();
  switch (kind) {
    case RowKind::pair: {
      const Pair pair = parse_pair(row);
      return {encoder.sequence(pair.prompt, pair.chosen, where), encoder.sequence(pair.prompt, pair.rejected, where)};
    }
    case RowKind::response_group: {
      const ResponseGroup group = parse_response_group(row, 1);
      std::vector<std::optional<TokenIds>> sequences;
      for (std::size_t place = 0; place < group.responses.size(); ++place) sequences.push_back(encoder.sequence(group, place));
      return sequences;
    }
    case RowKind::text: {
      const Text text = parse_text(row);
      return {encoder.sequence(text.prompt, text.text, where)};
    }
  }
  fail_internal("unknown kind of row");
}

Json number_or_null(const std::optional<float>& reward) { return reward ? Json(*reward) : Json(nullptr); }

// `after`: what follows `reward` in the fields' names.
void add_numbers(PendingRow& pending, const std::vector<std::optional<float>>& numbers, const std::string& after) {
  switch (pending.kind) {
    case RowKind::pair:
      pending.row["chosen_reward" + after] = number_or_null(numbers[0]);
      pending.row["rejected_reward" + after] = number_or_null(numbers[1]);
      break;
    case RowKind::response_group: {
      Json& list = pending.row["rewards" + after] = Json::array();
      for (const std::optional<float>& number : numbers) list.push_back(number_or_null(number));
      break;
    }
    case RowKind::text: pending.row["reward" + after] = number_or_null(numbers[0]); break;
  }
}

// One for each sequence of the row; none for those that were not scored.
std::vector<std::optional<float>> by_sequence(const PendingRow& pending, const std::vector<float>& scored) {
  std::size_t next = 0;
  std::vector<std::optional<float>> numbers;
  for (const auto& sequence : pending.sequences) numbers.push_back(sequence ? std::optional(scored[next++]) : std::nullopt);
  return numbers;
}

class RowScorer {
 public:
  RowScorer(Ranks& ranks, const Scorer& scorer, std::int64_t tokens_per_batch, const std::function<void(const Json&)>& write, Log& log)
      : ranks_(ranks), scorer_(scorer), tokens_per_batch_(tokens_per_batch), write_(write), log_(log) {}

  void add(PendingRow row) {
    for (const auto& sequence : row.sequences) tokens_ += sequence ? static_cast<std::int64_t>(sequence->size()) : 0;
    rows_.push_back(std::move(row));
    if (tokens_ >= 16 * tokens_per_batch_ * ranks_.size()) flush();
  }

  void flush() {
    std::vector<std::vector<TokenIds>> groups;
    for (const PendingRow& row : rows_) {
      std::vector<TokenIds>& group = groups.emplace_back();
      for (const auto& sequence : row.sequences)
        if (sequence) group.push_back(*sequence);
    }
    const GroupRewards scored = score_groups(ranks_, scorer_, groups, tokens_per_batch_);
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      add_numbers(rows_[i], by_sequence(rows_[i], scored.rewards[i]), "");
      if (scorer_.is_ensemble())
        add_numbers(rows_[i], by_sequence(rows_[i], scored.deviations[i]), "_std");
      else
        for (const char* field : {"chosen_reward_std", "rejected_reward_std", "rewards_std", "reward_std"}) rows_[i].row.erase(field);
      write_(rows_[i].row);
      if (groups[i].size() < rows_[i].sequences.size()) ++summary.too_long;
      summary.sequences += static_cast<std::int64_t>(groups[i].size());
    }
    summary.rows += static_cast<std::int64_t>(rows_.size());
    summary.tokens += tokens_;
    log_.progress("scoring", summary.rows, 0, fmt::format("{} tokens", summary.tokens));
    rows_.clear();
    tokens_ = 0;
  }

  ScoreSummary summary;

 private:
  Ranks& ranks_;
  const Scorer& scorer_;
  std::int64_t tokens_per_batch_;
  const std::function<void(const Json&)>& write_;
  Log& log_;
  std::vector<PendingRow> rows_;
  std::int64_t tokens_ = 0;
};

}  // namespace

ScoreSummary score_rows(Ranks& ranks, const Scorer& scorer, Encoder& encoder, const std::vector<std::string>& files, BadRows bad_rows,
                        std::int64_t tokens_per_batch, const std::function<void(const Json& row)>& write, Log& log) {
  const Stopwatch stopwatch;
  RowScorer rows(ranks, scorer, tokens_per_batch, write, log);
  const BadRowReport report = for_each_row(files, bad_rows, [&](const JsonRow& row) {
    const RowKind kind = recognise_row(row);
    rows.add({row.value, kind, encode_row(row, kind, encoder)});
  });
  rows.flush();
  rows.summary.skipped = report.skipped;
  rows.summary.seconds = stopwatch.seconds();
  log_skipped(report, log);
  if (rows.summary.too_long > 0)
    log.warn(fmt::format("{} rows hold a response that alone is longer than --max-length: its reward is null", rows.summary.too_long));
  for (const std::string& note : encoder.report().notes()) log.info(note);
  return rows.summary;
}

}  // namespace metarm
