// What became of a served reward model: alarms, alignments, decisions, rollbacks. The last ones in memory, all of them in a file.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "metarm/base/journal.h"
#include "metarm/base/log.h"

namespace metarm {

class EventLog {
 public:
  // Errors as Journal. `log` gets each event as a line of JSON, too, as those see it who are no administrators.
  EventLog(const std::string& path, Log& log);

  // Thread-safe; throws nothing: where the file cannot be written, a warning says so.
  void add(const std::string& event, std::int64_t version, const std::string& text);
  // One whose text may name files, or come from another program: administrators alone read it, others `exit_code` where there is one.
  void add_failure(std::int64_t version, const std::string& text, std::optional<int> exit_code);
  Json to_json(bool for_admin) const;  // {"time", "event", "version", "text"} of the last 100, oldest first; failures with "exit_code"

 private:
  void keep(const Json& event);
  void add(const Json& event);

  Log& log_;
  mutable std::mutex mutex_;
  std::deque<Json> last_;
  std::unique_ptr<Journal> journal_;
};

}  // namespace metarm
