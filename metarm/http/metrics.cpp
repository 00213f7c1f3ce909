#include "metarm/http/metrics.h"

#include <fmt/format.h>

namespace metarm {

namespace {

std::string quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? ' ' : c;
  }
  return quoted + '"';
}

class Page {
 public:
  void family(const char* name, const char* type, const char* help) {
    name_ = name;
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  void value(double value, const std::string& labels = "", const char* suffix = "") {
    text_ += fmt::format("{}{}{} {}\n", name_, suffix, labels.empty() ? "" : "{" + labels + "}", value);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_, name_;
};

// What /v1/status says of the shift, as far as it is known.
void add_shift(Page& page, const Json& status) {
  const auto add = [&](const char* name, const char* type, const char* help, const Json& value, const std::string& labels = "") {
    page.family(name, type, help);
    page.value(value.is_boolean() ? (value.get<bool>() ? 1 : 0) : value.get<double>(), labels);
  };
  const auto part = [&](const char* name) { return status.contains(name) && status[name].is_object() ? status[name] : Json::object(); };
  const Json shift = part("shift"), log = part("log"), alignment = part("alignment");
  if (shift.contains("alarm")) {
    add("metarm_shift_alarm", "gauge", "1 while the shift test gives an alarm.", shift["alarm"]);
    add("metarm_shift_threshold", "gauge", "log10 of the evidence at which it does.", shift["threshold"]);
    page.family("metarm_shift_evidence", "gauge", "log10 of the evidence of a shift.");
    for (const char* stream : {"differences", "rewards"})
      page.value(shift[stream]["evidence"].get<double>(), fmt::format("stream=\"{}\"", stream));
    page.family("metarm_shift_mean", "gauge", "Mean of the last reward differences, and of the last rewards.");
    for (const char* stream : {"differences", "rewards"})
      page.value(shift[stream]["window_mean"].get<double>(), fmt::format("stream=\"{}\"", stream));
    add("metarm_near_ties", "gauge", "Share of near ties among the last reward differences.", shift["near_ties"]["window"]);
  }
  if (log.contains("rows")) {
    add("metarm_log_rows", "gauge", "Rows in the shift log.", log["rows"]);
    add("metarm_log_offered_total", "counter", "Rows that were offered to it.", log["offered"]);
    add("metarm_log_acknowledged_total", "counter", "Rows that are on the disk.", log["acknowledged"]);
    add("metarm_log_dropped_total", "counter", "Rows that were lost because the disk was too slow or full.", log["dropped"]);
    add("metarm_log_sampled_out_total", "counter", "Rows that were left out because they came too fast.", log["sampled_out"]);
    add("metarm_log_removed_total", "counter", "Rows that were removed because they were too old or too many.", log["removed"]);
    add("metarm_log_unsplit_total", "counter", "Texts left out because nothing told where their prompt ends.", log["unsplit"]);
    add("metarm_log_bytes", "gauge", "Size of the shift log.", log["bytes"]);
    add("metarm_log_error", "gauge", "1 while it cannot be written.", Json(log["error"] != ""));
  }
  if (alignment.contains("version")) {
    add("metarm_version_number", "gauge", "Number of the first model's version.", alignment["version"]);
    add("metarm_alignment_running", "gauge", "1 while the first model is being aligned.", Json(alignment["state"] != "idle"));
  }
}

}  // namespace

void HttpMetrics::add_request(const std::string& route, int status, double seconds) {
  const std::lock_guard lock(mutex_);
  ++requests_[{route, status}];
  Histogram& histogram = seconds_[route];
  for (std::size_t i = 0; i < kBounds_s.size(); ++i) histogram.below[i] += seconds <= kBounds_s[i];
  ++histogram.count;
  histogram.sum_s += seconds;
}

std::string HttpMetrics::to_text(const RewardService& service) const {
  Page page;
  {
    const std::lock_guard lock(mutex_);
    page.family("metarm_requests_total", "counter", "Requests answered.");
    for (const auto& [key, count] : requests_)
      page.value(static_cast<double>(count), fmt::format("route={},status=\"{}\"", quote(key.first), key.second));
    page.family("metarm_request_seconds", "histogram", "From a request's first byte to its answer.");
    for (const auto& [route, histogram] : seconds_) {
      const std::string label = "route=" + quote(route);
      for (std::size_t i = 0; i < kBounds_s.size(); ++i)
        page.value(static_cast<double>(histogram.below[i]), fmt::format("{},le=\"{}\"", label, kBounds_s[i]), "_bucket");
      page.value(static_cast<double>(histogram.count), label + ",le=\"+Inf\"", "_bucket");
      page.value(histogram.sum_s, label, "_sum");
      page.value(static_cast<double>(histogram.count), label, "_count");
    }
  }
  const std::vector<ServedModel> models = service.models();
  page.family("metarm_model_info", "gauge", "1 for the present version of each model.");
  for (const ServedModel& model : models) page.value(1, fmt::format("model={},version={}", quote(model.name), quote(model.version)));
  page.family("metarm_rows_total", "counter", "Texts scored.");
  for (const ServedModel& model : models) page.value(static_cast<double>(model.rows), "model=" + quote(model.name));
  page.family("metarm_tokens_total", "counter", "Tokens of the texts scored.");
  for (const ServedModel& model : models) page.value(static_cast<double>(model.tokens), "model=" + quote(model.name));

  page.family("metarm_truncated_total", "counter", "Texts scored whose prompt lost its oldest tokens.");
  for (const ServedModel& model : models) page.value(static_cast<double>(model.truncated), "model=" + quote(model.name));
  page.family("metarm_too_long_total", "counter", "Texts not scored because they were too long.");
  for (const ServedModel& model : models) page.value(static_cast<double>(model.too_long), "model=" + quote(model.name));

  const QueueState queue = service.queue();
  const auto add = [&](const char* name, const char* type, const char* help, std::int64_t value) {
    page.family(name, type, help);
    page.value(static_cast<double>(value));
  };
  add("metarm_tree_tokens_total", "counter", "Tokens computed: what texts share is computed once.", queue.tree_tokens);
  add("metarm_batches_total", "counter", "Forward passes.", queue.batches);
  add("metarm_queue_rows", "gauge", "Texts waiting.", queue.rows);
  add("metarm_queue_tokens", "gauge", "Tokens waiting.", queue.tokens);
  add("metarm_refused_total", "counter", "Requests refused because the queue was full.", queue.refused);
  add("metarm_late_total", "counter", "Requests that ran out of time.", queue.late);
  add("metarm_abandoned_total", "counter", "Requests whose client went before its answer.", queue.abandoned);
  add_shift(page, service.status(false));
  return page.take();
}

}  // namespace metarm
