// `metarm align` as a process beside the server that wants it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/data/rows.h"

namespace metarm {

struct AlignProcessOptions {
  std::vector<std::string> pairs;     // files
  std::string config;                 // a file of `metarm align`'s options; empty: its defaults, and 50 steps
  std::vector<std::string> launcher;  // put before the program
  // Options of the server that an alignment must share, such as --chat-template, as names without dashes and values. The config counts
  // more.
  std::vector<std::pair<std::string, std::string>> shared;
  double timeout_s = 3600;
};

// Input errors of the files, which an alignment would find later.
void check(const AlignProcessOptions& options);

// What one alignment is about.
struct AlignProcessTask {
  std::string model;                  // a checkpoint
  std::vector<ResponseGroup> groups;  // rewards in them are not used
  std::string folder;                 // where it works; rm/ in it is the outcome
  std::uint64_t seed = 0;
};
// How it ended otherwise than well: its last line, its time, its memory. Kind io.
class AlignProcessError : public Error {
 public:
  AlignProcessError(const std::string& message, int exit_code) : Error(ErrorKind::io, message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};
// Returns when it has ended well. AlignProcessError; io error where it took too long, or `cancelled`, asked every 0.1 s, had it killed.
void run_align_process(const AlignProcessTask& task, const AlignProcessOptions& options, const std::function<bool()>& cancelled);

}  // namespace metarm
