// A file of JSON lines that a run adds to as it goes, so that what was paid for once is there again after a kill.
#pragma once

#include <functional>
#include <string>

#include "metarm/base/json_lines.h"

namespace metarm {

// It is there once it holds something. One process at a time: input error while another has the same file open. io error when it cannot be
// read or written.
class Journal {
 public:
  // Opens or makes the file and calls `row` for each line in it. A last line without its end, which a killed writer leaves, is cut off
  // then; any other that is not a JSON object is an input error `path:line: ...`, and the file is as it was.
  Journal(std::string path, const std::function<void(const JsonRow&)>& row);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  void append(const Json& row);  // with the system before it returns, so that a kill of this process does not lose it
  void remove();                 // once all it holds is elsewhere

 private:
  void open();
  void close();  // and removes it where it is empty
  void read(const std::function<void(const JsonRow&)>& row);

  std::string path_;
  int descriptor_ = -1;
};

}  // namespace metarm
