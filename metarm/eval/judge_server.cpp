#include "metarm/eval/judge_server.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <utility>

#include "metarm/base/file.h"
#include "metarm/base/journal.h"
#include "metarm/eval/judge_prompt.h"
#include "metarm/remote/client.h"
#include "metarm/remote/completion.h"

namespace metarm {

namespace {

std::string as_text(const Content& content) {
  if (const auto* text = std::get_if<std::string>(&content)) return *text;
  std::string text;
  for (const Message& message : std::get<Conversation>(content))
    text += fmt::format("{}{}: {}", text.empty() ? "" : "\n\n", message.role, message.content);
  return text;
}

// A response that is messages is what its last one says; those before belong to the prompt.
std::string response_text(const Content& response) {
  const auto* conversation = std::get_if<Conversation>(&response);
  return conversation != nullptr ? conversation->back().content : std::get<std::string>(response);
}

Outcome outcome_of(const std::optional<Verdict>& verdict, bool a_first) {
  if (!verdict || *verdict == Verdict::tie) return Outcome::tie;
  return (*verdict == Verdict::first) == a_first ? Outcome::win : Outcome::lose;
}

class ServerJudge {
 public:
  ServerJudge(const JudgeOptions& options, const Server& server, JudgeUse& use, Log& log)
      : options_(options), server_(server), use_(use), log_(log), template_(kJudgePrompt) {
    if (options.judge_prompt.empty()) return;
    template_ = read_file(options.judge_prompt);
    check_judge_prompt(template_, options.judge_prompt);
  }

  std::vector<Judgement> run(std::span<const MatchedGroups> groups, std::span<const Comparison> comparisons) {
    std::vector<std::optional<std::pair<std::string, std::string>>> asked;  // questions of a comparison; none where nothing is to ask
    for (const Comparison& comparison : comparisons) {
      const MatchedGroups& group = groups[comparison.prompt];
      const std::string a = response_text(group.a.responses[comparison.a]), b = response_text(group.b.responses[comparison.b]);
      asked.emplace_back();
      if (a != b) asked.back().emplace(add_question(group, a, b), add_question(group, b, a));
    }
    use_.questions = static_cast<std::int64_t>(questions_.size());
    answer_questions();
    std::vector<Judgement> judgements;
    for (const auto& both : asked) judgements.push_back(both ? judgement(both->first, both->second) : equal_responses());
    for (const auto& [key, question] : questions_) use_.unclear += !parse_verdict(*question.answer);
    return judgements;
  }

 private:
  struct Question {
    Request request;
    std::optional<std::string> answer;
  };

  // Returns the key: the request's text, which is also what the cache knows it by.
  std::string add_question(const MatchedGroups& group, const std::string& first, const std::string& second) {
    const std::string text = fill_judge_prompt(template_, {as_text(group.a.prompt), first, second});
    Question question;
    question.request =
        completion_request(server_.options, Conversation{{"user", text}}, {.max_new_tokens = options_.max_new_tokens, .temperature = 0}, 1);
    question.request.where = group.a.where;
    std::string key = question.request.body.dump();
    questions_.try_emplace(key, std::move(question));
    return key;
  }

  void answer_questions() {
    Journal cache(options_.cache, [this](const JsonRow& row) {
      const auto found = questions_.find(require_field(row.value, "request", row.where()).dump());
      std::string answer = text_field(row.value, "answer", row.where());
      if (found != questions_.end()) found->second.answer = std::move(answer);
    });
    std::vector<Question*> open;
    for (auto& [key, question] : questions_)
      if (!question.answer) open.push_back(&question);
    std::size_t next = 0;
    const auto ask = [&]() -> std::optional<Request> {
      if (next == open.size()) return std::nullopt;
      open[next]->request.id = static_cast<std::int64_t>(next);
      return open[next++]->request;
    };
    const auto take = [&](const Request& asked, const Json& answer, const std::string& url) {
      const Completion completion = parse_completion(answer, url);
      const CompletionChoice& choice = completion.choices.front();
      // Cut while it still reasoned: no verdict, which is counted, and there would be none the next time.
      const bool cut_in_thought = !choice.text && !choice.ended && choice.broken_by.empty();
      const std::string text = cut_in_thought ? "" : require_text(choice, url);
      cache.append({{"request", asked.body}, {"answer", text}});
      open[static_cast<std::size_t>(asked.id)]->answer = text;
      ++use_.asked;
      use_.input_tokens += completion.prompt_tokens;
      use_.output_tokens += completion.answer_tokens;
      log_.progress("judging", use_.asked, static_cast<std::int64_t>(open.size()), "");
    };
    run_exchange(server_, {ask, take, {}}, log_);
  }

  Judgement judgement(const std::string& a_first, const std::string& b_first) const {
    const Outcome one = outcome_of(parse_verdict(*questions_.at(a_first).answer), true),
                  other = outcome_of(parse_verdict(*questions_.at(b_first).answer), false);
    return {one == other ? one : Outcome::tie, {{"a_first", outcome_name(one)}, {"b_first", outcome_name(other)}}};
  }

  static Judgement equal_responses() { return {Outcome::tie, {{"equal", true}}}; }

  const JudgeOptions& options_;
  const Server& server_;
  JudgeUse& use_;
  Log& log_;
  std::string template_;
  std::map<std::string, Question> questions_;
};

}  // namespace

std::vector<Judgement> judge_by_server(const JudgeOptions& options, const Server& server, std::span<const MatchedGroups> groups,
                                       std::span<const Comparison> comparisons, JudgeUse& use, Log& log) {
  return ServerJudge(options, server, use, log).run(groups, comparisons);
}

}  // namespace metarm
