#include "metarm/serve/shift_watch.h"

#include <chrono>
#include <string_view>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/base/wall_clock.h"

namespace metarm {

namespace {

constexpr std::size_t kSamples = 50;
constexpr std::size_t kShownBytes = 16384;
constexpr std::size_t kFewestPromptBytes = 16;  // that a cut prompt must have left: fewer may be alike by chance
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

std::optional<PromptAndResponse> split_at(std::string_view text, std::size_t end_of_prompt) {
  if (end_of_prompt == 0) return {};
  return PromptAndResponse{std::string(text.substr(0, end_of_prompt)), std::string(text.substr(end_of_prompt))};
}

std::size_t start_length(std::string_view text, std::string_view start_token) {
  return text.starts_with(start_token) ? start_token.size() : 0;
}

// How much of the end of `prompt` `text` begins with, at most all of it: by the prefix function of Knuth, Morris and Pratt.
std::size_t overlap(std::string_view prompt, std::string_view text) {
  text = text.substr(0, prompt.size());
  std::vector<std::size_t> border(text.size());
  const auto extend = [&](std::size_t length, char next) {
    while (length > 0 && (length == text.size() || text[length] != next)) length = border[length - 1];
    return length < text.size() && text[length] == next ? length + 1 : 0;
  };
  for (std::size_t i = 1; i < text.size(); ++i) border[i] = extend(border[i - 1], text[i]);
  std::size_t length = 0;
  for (const char next : prompt) length = extend(length, next);
  return length;
}

std::optional<PromptAndResponse> split_at_told(std::string_view text, std::string_view prompt, const TextMarks& marks) {
  const std::size_t start = start_length(text, marks.start_token);
  prompt.remove_prefix(start_length(prompt, marks.start_token));
  const std::size_t found = overlap(prompt, text.substr(start));
  return found > 0 && (found == prompt.size() || found >= kFewestPromptBytes) ? split_at(text, start + found) : std::nullopt;
}

std::optional<PromptAndResponse> split_at_turn(const std::string& text, const TextMarks& marks) {
  const std::size_t turn = marks.assistant_turn.empty() ? std::string::npos : text.rfind(marks.assistant_turn);
  if (turn != std::string::npos) return split_at(text, turn + marks.assistant_turn.size());
  return split_at(text, std::get<std::string>(implicit_prompt(text)).size());
}

Json stream_json(const StreamFigures& figures) {
  return {{"reference", figures.reference},           {"window", figures.window},           {"period", figures.period},
          {"reference_mean", figures.reference_mean}, {"window_mean", figures.window_mean}, {"distance", figures.distance},
          {"evidence", figures.log10_evidence}};
}

}  // namespace

TextMarks marks_of(const ChatTemplate* chat, std::string start_token) {
  TextMarks marks{std::move(start_token), {}};
  if (chat == nullptr) return marks;
  const Conversation asked = {{"user", "?"}};
  const std::string closed = chat->render(asked, false), open = chat->render(asked, true);
  // Some templates end a user's message with what opens the assistant's.
  marks.assistant_turn = open.substr(open != closed && open.starts_with(closed) ? closed.size() : open.rfind('?') + 1);
  marks.assistant_turn.erase(0, marks.assistant_turn.find_first_not_of(' '));
  return marks;
}

std::optional<PromptAndResponse> prompt_and_response(const ScoreItem& item, const TextMarks& marks) {
  const auto* content = std::get_if<Content>(&item.text);
  if (content == nullptr) return {};
  if (item.prompt) return PromptAndResponse{*item.prompt, *content};
  if (const auto* messages = std::get_if<Conversation>(content)) {
    if (messages->size() < 2) return {};
    return PromptAndResponse{implicit_prompt(*content), Conversation{messages->back()}};
  }
  const std::string& text = std::get<std::string>(*content);
  if (const auto* told = item.told_prompt ? std::get_if<std::string>(&*item.told_prompt) : nullptr; told != nullptr)
    if (auto found = split_at_told(text, *told, marks)) return found;
  return split_at_turn(text, marks);
}

ShiftWatch::ShiftWatch(const ShiftWatchOptions& options, std::function<void()> notice, Log& log)
    : options_(options), notice_(std::move(notice)), messages_(log) {
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

void ShiftWatch::replay() {
  if (!log_ || version_.empty()) return;
  const std::lock_guard lock(mutex_);
  log_->replay(version_, [&](std::uint64_t prompt, std::uint64_t response, double reward) {
    test_->add(prompt, response, static_cast<float>(reward));
  });
}

void ShiftWatch::add(const ScoreQuery& query, const ScoreReply& reply) {
  for (std::size_t i = 0; i < query.items.size(); ++i) {
    if (!reply.rewards[i]) continue;
    if (const auto texts = prompt_and_response(query.items[i], marks_))
      add_one(*texts, query.items[i].form, *reply.rewards[i], reply.version, query.step);
    else
      note_unsplit();
  }
}

void ShiftWatch::note_unsplit() {
  const bool first = [&] {
    const std::lock_guard lock(mutex_);
    return unsplit_++ == 0;
  }();
  if (first && log_)
    messages_.warn(
        "a text was scored that shows no end of its prompt: it and its like are not in the shift log (log.unsplit in /v1/status counts "
        "them); send prompts and responses, or --chat-template names the format");
}

void ShiftWatch::add_one(const PromptAndResponse& texts, TextForm form, float reward, const std::string& version,
                         const std::optional<std::int64_t>& step) {
  const double now_s = seconds_since_1970();
  const std::uint64_t prompt = hash(texts.prompt), response = hash(texts.response);
  bool noticed = false;
  {
    const std::lock_guard lock(mutex_);
    if (log_)
      if (const std::uint64_t ticket = log_->add({texts.prompt, texts.response, reward, version, now_s, step, form}); ticket > 0)
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
  const std::lock_guard lock(mutex_);
  return {{"rows", state.rows},       {"bytes", state.bytes},
          {"offered", state.offered}, {"sampled_out", state.sampled_out},
          {"dropped", state.dropped}, {"acknowledged", state.acknowledged},
          {"removed", state.removed}, {"unsplit", unsplit_},
          {"error", state.error},     {"redacted", options_.log->redact}};
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
