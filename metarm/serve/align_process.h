// `metarm align` as a process beside the server that wants it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

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
// Returns when it has ended well. io error that says how it ended otherwise: its last line, its time, its memory; or that `cancelled`,
// asked every 0.1 s, had it killed.
void run_align_process(const AlignProcessTask& task, const AlignProcessOptions& options, const std::function<bool()>& cancelled);

}  // namespace metarm
