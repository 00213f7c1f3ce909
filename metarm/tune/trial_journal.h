// What has become of each trial at each rung, kept as it comes: D/journal.jsonl, in the order in which trials ended.
//
//   {"trial", "steps", "told", "of": name of the figure, "figure" or "failure", "seconds"}
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "metarm/base/journal.h"
#include "metarm/tune/trial_command.h"

namespace metarm {

class TrialJournal {
 public:
  // Reads what is there; without failures where they are to be tried again. Errors as Journal's.
  TrialJournal(const std::string& path, bool retry_failed);

  // Null: not done yet. Input error where it was done with other options, or for another figure.
  const TrialOutcome* find(std::int64_t trial, std::int64_t steps, const std::string& told, const std::string& figure) const;
  void add(std::int64_t trial, std::int64_t steps, const std::string& told, const std::string& figure, const TrialOutcome& outcome,
           double seconds);

 private:
  struct Entry {
    std::string where, told, figure;
    TrialOutcome outcome;
  };

  std::map<std::pair<std::int64_t, std::int64_t>, Entry> entries_;
  Journal journal_;
};

}  // namespace metarm
