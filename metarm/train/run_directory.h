// A training's output folder: config.toml as resolved, data.json, metrics.jsonl, TensorBoard events, checkpoints/step-N, and at the end
// the model itself. Its config.json, or an adapter's adapter_config.json, comes last of all, so that a folder that has one holds a finished
// model.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "metarm/base/file.h"
#include "metarm/base/json_lines.h"
#include "metarm/base/options.h"
#include "metarm/base/tensorboard.h"

namespace metarm {

class RunDirectory {
 public:
  // A new run needs a folder that does not exist or is empty (input error); what a killed process left under temporary names does not
  // count. With `resume`, one of the same command and options goes on: a resumption error names the first option that differs. Options that
  // change no result (resume, threads, quiet, json, how often to save) may differ. Of several ranks one `writes`; what the others record
  // and save goes nowhere. More max-steps prolong a run, a finished one too, where the learning rate is constant without warm-up.
  RunDirectory(std::string path, const char* command, const std::vector<Field>& options, bool resume, bool writes = true);

  const std::string& path() const { return path_; }
  bool finished() const;
  // The step of the last one, or of the last one after up to `most` steps.
  std::optional<std::int64_t> last_checkpoint(std::int64_t most = std::numeric_limits<std::int64_t>::max()) const;
  std::string checkpoint_path(std::int64_t step) const;

  // What the run reads: for each name {"rows", "hash"}. Resumption error where the run that is resumed began with other data.
  void expect_data(Json data);

  // Makes the folder where there is none; nothing is written before. From here on: temporary files, and rows of metrics.jsonl and events
  // beyond `step` (0: all), which a killed run left, are dropped.
  void begin_at(std::int64_t step);
  // Appends one row, {"step", "time_s", ...}, to metrics.jsonl and its numbers to the TensorBoard events. `metrics` must be an object; what
  // is no number in it, as a histogram, is no event.
  void record(std::int64_t step, Json metrics);
  std::int64_t skipped_steps() const { return skipped_steps_; }  // recorded with `skipped`, before a kill too
  // `write(folder)` fills the run's folder itself with the finished model.
  void save_model(const std::function<void(const std::string& folder)>& write) const;
  // `write(folder)` fills checkpoints/step-N, which appears whole.
  void save_checkpoint(std::int64_t step, const std::function<void(const std::string& folder)>& write);
  // Of the checkpoints after up to `most` steps all but the last `keep` (0: all), and the one after `best` steps, are removed.
  void remove_old_checkpoints(std::int64_t most, std::int64_t keep, std::int64_t best) const;

 private:
  std::string file(const char* name) const;
  std::vector<std::int64_t> checkpoint_steps() const;
  void take_row(const Json& row);  // counts it and writes its events
  void remove_leftovers() const;

  std::string path_, config_toml_;
  Json data_ = Json::object();
  std::int64_t skipped_steps_ = 0;
  bool writes_;
  std::unique_ptr<EventFile> events_;
};

}  // namespace metarm
