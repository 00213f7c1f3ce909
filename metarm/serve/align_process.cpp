#include "metarm/serve/align_process.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "metarm/base/child_process.h"
#include "metarm/base/config_file.h"
#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/options.h"
#include "metarm/meta/align_options.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultSteps = "50";

// Read once, when the server starts: after an upgrade the running program has no name any more.
const std::string& this_program() {
  static const std::string path = fs::read_symlink("/proc/self/exe").string();
  return path;
}

std::set<std::string> keys_of(const std::string& config) {
  std::set<std::string> keys;
  if (!config.empty())
    for (const ConfigEntry& entry : load_config_file(config).top.entries) keys.insert(entry.key);
  return keys;
}

std::string as_key(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::string last_line(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text.empty() ? "it said nothing" : text.substr(text.rfind('\n') + 1);
}

std::string write_groups(const AlignProcessTask& task) {
  std::string lines;
  for (ResponseGroup group : task.groups) {
    group.rewards.clear();
    lines += to_json(group).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  const std::string path = task.folder + "/groups.jsonl";
  write_file(path, lines);
  return path;
}

std::vector<std::string> arguments_of(const AlignProcessTask& task, const AlignProcessOptions& options) {
  std::vector<std::string> words = options.launcher;
  const auto add = [&](const std::vector<std::string>& more) { words.insert(words.end(), more.begin(), more.end()); };
  const std::set<std::string> named = keys_of(options.config);
  add({this_program(), "align", "--quiet"});
  if (!options.config.empty()) add({"--config", options.config});
  if (!named.contains("max_steps") && !named.contains("epochs")) add({"--max-steps", kDefaultSteps});
  for (const auto& [name, value] : options.shared)
    if (!named.contains(as_key(name))) add({"--" + name, value});
  add({"--model", task.model, "--responses", write_groups(task), "--output", task.folder + "/rm", "--seed", std::to_string(task.seed),
       "--pairs"});
  add(options.pairs);
  return words;
}

}  // namespace

void check(const AlignProcessOptions& options) {
  if (options.pairs.empty()) return;
  this_program();
  read_pairs(options.pairs, BadRows::stop);
  if (options.config.empty()) return;
  static const std::set<std::string> kSetHere = {"model", "pairs", "responses", "output", "seed", "resume", "policy", "reference_policy"};
  for (const ConfigEntry& entry : load_config_file(options.config).top.entries)
    if (kSetHere.contains(entry.key)) fail_input("{}: expected an option that the server does not set itself, got this one", entry.where);
  AlignOptions align;
  const std::vector<std::string> arguments = {"--config", options.config, "--model", "-",        "--pairs",
                                              "-",        "--responses",  "-",       "--output", "-"};
  parse_options("serve: --align", align, arguments);
  const auto lacks = [&](const char* field, const char* key) {
    fail_input("{}: {}: expected none, since requests carry no {}; --align-half-life weighs groups by their age", options.config, key,
               field);
  };
  if (align.recency_half_life > 0) lacks("round", "recency_half_life");
  if (align.balance_by != BalanceBy::none && align.balance_by != BalanceBy::clusters) lacks("round, policy or subset", "balance_by");
}

void run_align_process(const AlignProcessTask& task, const AlignProcessOptions& options, const std::function<bool()>& cancelled) {
  fs::create_directories(task.folder);
  const std::string errors = task.folder + "/errors";
  const FinishedProcess finished =
      run_process(arguments_of(task, options), {.seconds = options.timeout_s, .errors_to = errors, .cancelled = cancelled});
  if (finished.killed && cancelled()) fail_io("metarm align: it was called off");
  if (finished.killed) fail_io("metarm align: expected it to end within {} s, got no end; it was killed", options.timeout_s);
  const auto fail = [&](const std::string& message) { throw AlignProcessError(message, finished.exit_code); };
  if (finished.exit_code == 137) fail("metarm align: expected it to end by itself, but it was killed; the memory may have been too small");
  const std::string said = last_line(read_file(errors));
  if (finished.exit_code == 127) fail(fmt::format("metarm align: could not start: {}; is --align-launcher a program?", said));
  if (finished.exit_code != 0) fail(fmt::format("metarm align ended with {}: {}", finished.exit_code, said));
  fs::remove_all(task.folder + "/rm/checkpoints");  // of its training: nobody goes on with it
}

}  // namespace metarm
