// The file behind the shift log: an SQLite database of scored responses, grouped by prompt. One thread writes; others may read meanwhile.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "metarm/data/rows.h"
#include "metarm/shift/database.h"

namespace metarm {

// A scored response; texts as JSON: a text, or a list of messages.
struct StoredResponse {
  std::string prompt, response;
  double reward = 0;
  std::string version;
  double time_s = 0;  // since 1970
  std::optional<std::int64_t> step;
  TextForm form = TextForm::response;
};

struct StoreLimits {
  std::int64_t rows = 1'000'000;
  std::int64_t bytes = std::int64_t{4} << 30;  // of the pages in use; pages that are free again are used before the file grows
  double age_s = 30 * 86400.0;
};

class ShiftStore {
 public:
  // Opens or makes the file. With `check` all of it is read to see whether it is whole. With `redact` it holds no texts afterwards, those
  // of earlier runs included. DatabaseError; input error for a database of something else, and for a redacted one without `redact`.
  ShiftStore(const std::string& path, const StoreLimits& limits, bool redact, bool check);
  ~ShiftStore();

  // One transaction: on the disk to the last row when it returns, nothing of it where it throws (DatabaseError; open a new store then).
  // What passes the limits is removed, oldest first.
  void append(std::span<const StoredResponse* const> rows);

  std::int64_t rows() const { return rows_; }
  std::int64_t bytes() const { return bytes_; }  // of the pages in use

 private:
  struct Statements;

  void make_tables();
  void remove_texts();
  std::string hash(std::string_view text) const;  // 16 bytes of SHA-256 of the file's salt and the text
  void insert(const StoredResponse& row);
  std::int64_t id_of_prompt(const StoredResponse& row);
  std::int64_t used_bytes();
  std::int64_t remove_beyond_limits(std::int64_t rows);  // of that many; returns how many it removed

  Database database_;
  const StoreLimits limits_;
  const bool redact_;
  std::string salt_;
  std::int64_t page_bytes_ = 0, rows_ = 0, bytes_ = 0;
  std::unique_ptr<Statements> statements_;
};

}  // namespace metarm
