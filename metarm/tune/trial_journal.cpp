#include "metarm/tune/trial_journal.h"

#include "metarm/base/error.h"
#include "metarm/base/resolved_options.h"

namespace metarm {

namespace {

std::int64_t whole_field(const JsonRow& row, const char* name) {
  return static_cast<std::int64_t>(number_field(row.value, name, row.where()));
}

}  // namespace

TrialJournal::TrialJournal(const std::string& path, bool retry_failed)
    : journal_(path, [&](const JsonRow& row) {
        Entry entry{row.where(), text_field(row.value, "told", row.where()), text_field(row.value, "of", row.where()), {}};
        const bool failed = row.value.contains("failure");
        if (failed)
          entry.outcome.failure = text_field(row.value, "failure", row.where());
        else
          entry.outcome.figure = number_field(row.value, "figure", row.where());
        if (!failed || !retry_failed) entries_[{whole_field(row, "trial"), whole_field(row, "steps")}] = std::move(entry);
      }) {}

const TrialOutcome* TrialJournal::find(std::int64_t trial, std::int64_t steps, const std::string& told, const std::string& figure) const {
  const auto found = entries_.find({trial, steps});
  if (found == entries_.end()) return nullptr;
  if (!find_difference(found->second.told, told).empty() || found->second.figure != figure)
    fail_input("{}: expected the options and the figure with which trial {} ran, got others; choose another --output", found->second.where,
               trial);
  return &found->second.outcome;
}

void TrialJournal::add(std::int64_t trial, std::int64_t steps, const std::string& told, const std::string& figure,
                       const TrialOutcome& outcome, double seconds) {
  Json row = {{"trial", trial}, {"steps", steps}, {"told", told}, {"of", figure}, {"seconds", seconds}};
  if (outcome.figure)
    row["figure"] = *outcome.figure;
  else
    row["failure"] = outcome.failure;
  journal_.append(row);
  entries_[{trial, steps}] = {"", told, figure, outcome};
}

}  // namespace metarm
