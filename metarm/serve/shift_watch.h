// What a reward server learns from the responses that one of its models scores: it keeps them (shift_log.h), tests whether they have
// shifted (shift_test.h), and shows the last ones.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "metarm/http/reward_service.h"
#include "metarm/shift/shift_log.h"
#include "metarm/shift/shift_test.h"
#include "metarm/text/chat_template.h"

namespace metarm {

// What a model's texts show of their parts; empty where it has none.
struct TextMarks {
  std::string start_token, assistant_turn;  // the latter is the chat template's, before each of the assistant's messages
};
TextMarks marks_of(const ChatTemplate* chat, std::string start_token);

// What prompt and response of a scored item are: as the request says, else the last message of a conversation, or of a text what follows
// its last assistant turn or its last "\n\nAssistant:". A told prompt need not be in the text whole: a start token may be before it, and
// its beginning cut off. nullopt where nothing tells.
struct PromptAndResponse {
  Content prompt, response;
};
std::optional<PromptAndResponse> prompt_and_response(const ScoreItem& item, const TextMarks& marks = {});

struct ShiftWatchOptions {
  std::optional<ShiftLogOptions> log;  // none: nothing is kept, and no text is shown
  ShiftTestOptions test;
  std::int64_t reference_groups = 256;  // the first so many of a version are its reference
};

class ShiftWatch {
 public:
  // `notice` is called, by whatever thread scores, when the alarm goes off and with each further response group. Errors as ShiftLog.
  ShiftWatch(const ShiftWatchOptions& options, std::function<void()> notice, Log& log);

  void split_by(const TextMarks& marks) { marks_ = marks; }    // before anything is added
  void add(const ScoreQuery& query, const ScoreReply& reply);  // a scored one; thread-safe, never waits for the disk
  // The test begins anew, for another version of the model (empty: whichever): the rewards of the next groups that it scores are the
  // reference. What an earlier one still scores is kept, but not tested.
  void begin_version(const std::string& version, double near_tie);
  // Takes what the log has of the version, since it was served last, as scored just now: after begin_version, before anything is added.
  void replay();

  bool alarm() const;
  ShiftState test() const;
  std::int64_t groups() const;  // prompts with two distinct responses, since the start
  bool keeps_texts() const { return log_ && !options_.log->redact; }
  // From all rows that were accepted until now. io error where they are not on the disk within 30 s; else as ShiftLog::draw.
  std::vector<ResponseGroup> draw(GroupDraw draw);

  Json log_status() const;   // null: there is none
  Json test_status() const;  // docs/serving.md
  Json samples() const;      // newest first

 private:
  struct Sample {
    double time_s;
    Content prompt, response;
    float reward;
    std::string version;
    std::optional<std::int64_t> step;
  };
  void note_unsplit();
  void add_one(const PromptAndResponse& texts, TextForm form, float reward, const std::string& version,
               const std::optional<std::int64_t>& step);

  const ShiftWatchOptions options_;
  const std::function<void()> notice_;
  Log& messages_;
  TextMarks marks_;
  std::unique_ptr<ShiftLog> log_;

  mutable std::mutex mutex_;  // over what follows
  std::unique_ptr<ShiftTest> test_;
  std::string version_;  // that it is of
  std::uint64_t tests_ = 0;
  std::int64_t groups_before_ = 0;  // of earlier tests
  std::uint64_t last_ticket_ = 0;
  std::int64_t unsplit_ = 0;  // texts of which nothing told prompt and response
  std::deque<Sample> samples_;
};

}  // namespace metarm
