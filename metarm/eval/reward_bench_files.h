// RewardBench's files: the rows of its data sets as JSON lines, and the results in the layout of its own scripts. A row's version is
// recognised by its fields:
//
//   RewardBench 1   prompt, chosen, rejected: texts; subset, id. A prompt that is a list of messages is one of the prior test sets
//   RewardBench 2   prompt: text; chosen, rejected: lists of texts; num_correct, total_completions, subset, id
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "metarm/eval/reward_bench.h"

namespace metarm {

struct Benchmark {
  BenchmarkVersion version = BenchmarkVersion::reward_bench;
  std::vector<BenchmarkItem> items;
  BadRowReport report;
};
// Input error, naming the row, for another form and for rows of both versions.
Benchmark read_benchmark(const std::vector<std::string>& files, BadRows bad_rows);

// A response as the benchmark puts it to a model: the assistant's answer to the prompt.
Conversation benchmark_conversation(const BenchmarkItem& item, std::size_t response);

struct BenchmarkLabels {
  std::string model;          // org/name, as the scripts name their files
  std::string chat_template;  // its name, `tokenizer` for the checkpoint's own
};
// eval-set/MODEL.json (each subset's score) and eval-set-scores/MODEL.json (columns with texts, scores and results) in `directory`, as
// scripts/run_rm.py and run_v2.py write them; pref-sets/ and pref-sets-scores/ for prior test sets. For version 1, less prior test sets,
// MODEL.json (accuracy, and that of subsets) and MODEL_outputs.jsonl (the rows with texts, scores and results), as the command
// `rewardbench` does. `render` gives a conversation's text.
void write_benchmark_files(const std::string& directory, const BenchmarkResult& result, std::span<const BenchmarkItem> items,
                           const BenchmarkLabels& labels, const std::function<std::string(const Conversation&)>& render);

// The last two parts of a path, org/name.
std::string model_label(const std::string& directory);

}  // namespace metarm
