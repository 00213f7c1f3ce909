#include "metarm/serve/shift_watch.h"

#include <chrono>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/base/wall_clock.h"

namespace metarm {

namespace {

constexpr std::size_t kSamples = 50;
constexpr std::size_t kShownBytes = 16384;
constexpr auto kPatience = std::chrono::seconds(30);

std::uint64_t hash(const Content& content) { return derive_seed(0, to_json(content).dump(-1, ' ', false, Json::error_handler_t::replace)); }

// Of a long text, as much as anybody looks at.
std::string shortened(const std::string& text) { return text.size() <= kShownBytes ? text : text.substr(0, kShownBytes) + "..."; }

Content shortened(const Content& content) {
  if (const auto* text = std::get_if<std::string>(&content)) return shortened(*text);
  Conversation messages = std::get<Conversation>(content);
  for (Message& message : messages) message.content = shortened(message.content);
  return messages;
}

std::optional<PromptAndResponse> split(const std::string& text, const std::string& prompt) {
  if (prompt.empty() || !text.starts_with(prompt)) return {};
  return PromptAndResponse{prompt, text.substr(prompt.size())};
}

Json stream_json(const StreamFigures& figures) {
  return {{"reference", figures.reference},           {"window", figures.window},           {"period", figures.period},
          {"reference_mean", figures.reference_mean}, {"window_mean", figures.window_mean}, {"distance", figures.distance},
          {"evidence", figures.log10_evidence}};
}

}  // namespace

std::optional<PromptAndResponse> prompt_and_response(const ScoreItem& item) {
  const auto* content = std::get_if<Content>(&item.text);
  if (content == nullptr) return {};
  if (item.prompt) return PromptAndResponse{*item.prompt, *content};
  if (const auto* messages = std::get_if<Conversation>(content)) {
    if (messages->size() < 2) return {};
    return PromptAndResponse{implicit_prompt(*content), Conversation{messages->back()}};
  }
  const std::string& text = std::get<std::string>(*content);
  if (const auto* told = item.told_prompt ? std::get_if<std::string>(&*item.told_prompt) : nullptr; told != nullptr)
    return split(text, *told);
  return split(text, std::get<std::string>(implicit_prompt(*content)));
}

ShiftWatch::ShiftWatch(const ShiftWatchOptions& options, std::function<void()> notice, Log& log)
    : options_(options), notice_(std::move(notice)) {
  if (options_.log) log_ = std::make_unique<ShiftLog>(*options_.log, log);
  begin_version("", 0);
}

void ShiftWatch::begin_version(const std::string& version, double near_tie) {
  const std::lock_guard lock(mutex_);
  version_ = version;
  if (test_) groups_before_ += test_->groups();
  ShiftTestOptions options = options_.test;
  options.near_tie = near_tie;
  options.seed += tests_++;
  test_ = std::make_unique<ShiftTest>(options_.reference_groups, options);
}

void ShiftWatch::add(const ScoreQuery& query, const ScoreReply& reply) {
  for (std::size_t i = 0; i < query.items.size(); ++i) {
    if (!reply.rewards[i]) continue;
    if (const auto texts = prompt_and_response(query.items[i])) add_one(*texts, *reply.rewards[i], reply.version, query.step);
  }
}

void ShiftWatch::add_one(const PromptAndResponse& texts, float reward, const std::string& version,
                         const std::optional<std::int64_t>& step) {
  const double now_s = seconds_since_1970();
  const double time_s = options_.time_is_step ? static_cast<double>(step.value_or(0)) : now_s;
  const std::uint64_t prompt = hash(texts.prompt), response = hash(texts.response);
  bool noticed = false;
  {
    const std::lock_guard lock(mutex_);
    if (log_)
      if (const std::uint64_t ticket = log_->add({texts.prompt, texts.response, reward, version, time_s, step}); ticket > 0)
        last_ticket_ = ticket;
    const std::int64_t groups = test_->groups();
    if (version_.empty() || version == version_) noticed = test_->add(prompt, response, reward) || test_->groups() > groups;
    if (keeps_texts()) samples_.push_front({now_s, shortened(texts.prompt), shortened(texts.response), reward, version, step});
    if (samples_.size() > kSamples) samples_.pop_back();
  }
  if (noticed) notice_();
}

bool ShiftWatch::alarm() const {
  const std::lock_guard lock(mutex_);
  return test_->alarm();
}

ShiftState ShiftWatch::test() const {
  const std::lock_guard lock(mutex_);
  return test_->state();
}

std::int64_t ShiftWatch::groups() const {
  const std::lock_guard lock(mutex_);
  return groups_before_ + test_->groups();
}

std::vector<ResponseGroup> ShiftWatch::draw(GroupDraw draw) {
  if (!log_) fail_input("expected a shift log to draw response groups from, got none");
  const std::uint64_t ticket = [&] {
    const std::lock_guard lock(mutex_);
    return last_ticket_;
  }();
  if (!log_->wait(ticket, kPatience)) fail_io("shift log: expected its rows on the disk, got: {}", log_->state().error);
  return log_->draw(draw);
}

Json ShiftWatch::log_status() const {
  if (!log_) return nullptr;
  const ShiftLogState state = log_->state();
  return {{"rows", state.rows},
          {"bytes", state.bytes},
          {"offered", state.offered},
          {"sampled_out", state.sampled_out},
          {"dropped", state.dropped},
          {"acknowledged", state.acknowledged},
          {"removed", state.removed},
          {"error", state.error},
          {"redacted", options_.log->redact}};
}

Json ShiftWatch::test_status() const {
  const ShiftState state = test();
  if (state.reference_wanted > 0) return {{"reference_wanted", state.reference_wanted}, {"reference", state.reference_collected}};
  return {{"alarm", state.alarm},
          {"threshold", state.log10_threshold},
          {"differences", stream_json(state.differences)},
          {"rewards", stream_json(state.rewards)},
          {"near_ties", {{"reference", state.reference_near_ties}, {"window", state.window_near_ties}}},
          {"periods", state.periods}};
}

Json ShiftWatch::samples() const {
  const std::lock_guard lock(mutex_);
  Json samples = Json::array();
  for (const Sample& sample : samples_)
    samples.push_back({{"time", sample.time_s},
                       {"prompt", to_json(sample.prompt)},
                       {"response", to_json(sample.response)},
                       {"reward", sample.reward},
                       {"version", sample.version},
                       {"step", sample.step ? Json(*sample.step) : Json(nullptr)}});
  return {{"samples", std::move(samples)}};
}

}  // namespace metarm
