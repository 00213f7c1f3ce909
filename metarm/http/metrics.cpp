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
    page.family("metarm_request_seconds", "histogram", "From a request's first line to its answer.");
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
  return page.take();
}

}  // namespace metarm
