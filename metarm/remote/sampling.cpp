#include "metarm/remote/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/journal.h"
#include "metarm/base/random.h"
#include "metarm/base/stopwatch.h"
#include "metarm/remote/completion.h"

namespace metarm {

namespace {

// What must be the same for a run to go on with another's responses.
Json list_settings(const SampleRequest& request, const Server& server, std::uint64_t seed, const std::vector<Prompt>& prompts) {
  std::uint64_t hash = 0;
  for (const Prompt& prompt : prompts) hash = derive_seed(hash, to_json(prompt.prompt).dump());
  return {{"server_model", server.options.server_model},
          {"strict_openai", server.options.strict_openai},
          {"prompts", fmt::format("{} with hash {:016x}", prompts.size(), hash)},
          {"responses", request.responses},
          {"max_new_tokens", request.max_new_tokens},
          {"temperature", request.temperature},
          {"top_p", request.top_p},
          {"top_k", request.top_k},
          {"stop", request.stop},
          {"seed", seed}};
}

struct Received {
  std::string text;
  bool ended;
};

class ServerSampler {
 public:
  ServerSampler(const SampleRequest& request, const Server& server, std::uint64_t seed, Log& log)
      : request_(request), server_(server), seed_(seed), log_(log), partial_(request.output + ".partial") {
    if (server.options.strict_openai && request.top_k > 0)
      fail_input("--top-k: expected it without --strict-openai, got both: it is no field of OpenAI's API");
    if (std::ranges::find(request.stop, "") != request.stop.end()) fail_input("--stop: expected texts, got an empty one");
    const std::filesystem::file_status status = std::filesystem::status(request.output);
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
      fail_input("{}: expected a file's name, got a folder or device", request.output);
  }

  SampleSummary run() {
    Rows<Prompt> read = read_prompts(request_.prompts, request_.bad_rows());
    log_skipped(read.report, log_);
    summary_.skipped = read.report.skipped;
    prompts_ = std::move(read.rows);
    groups_.resize(prompts_.size());
    const Stopwatch stopwatch;
    open_journal();
    for (std::size_t i = 0; i < prompts_.size(); ++i)
      if (missing(i) > 0) open_prompts_.push_back(i);
    run_exchange(
        server_,
        {[this] { return next(); }, [this](const Request& asked, const Json& answer, const std::string& url) { take(asked, answer, url); },
         [this](const Request& asked, const Failure& failure) { return ask_singly(asked, failure); }},
        log_);
    write();
    journal_->remove();
    summary_.seconds = stopwatch.seconds();
    return summary_;
  }

 private:
  std::int64_t missing(std::size_t prompt) const { return request_.responses - static_cast<std::int64_t>(groups_[prompt].size()); }

  void open_journal() {
    settings_ = list_settings(request_, server_, seed_, prompts_);
    journal_ = std::make_unique<Journal>(partial_, [this](const JsonRow& row) {
      if (begun_) return restore(row);
      check_same_settings(row);
      begun_ = true;
    });
    if (begun_)
      log_.info(fmt::format("going on with {}: {} of {} responses are there", partial_, summary_.responses,
                            request_.responses * static_cast<std::int64_t>(prompts_.size())));
  }

  void check_same_settings(const JsonRow& row) const {
    const Json& then = require_field(row.value, "settings", row.where());
    for (const auto& [name, now] : settings_.items()) {
      const Json& before = require_field(then, name.c_str(), row.where());
      if (before != now)
        fail_input("{}: {}: expected {}, with which it was begun, got {}; repeat that command, or remove the file to begin anew", partial_,
                   name, before.dump(), now.dump());
    }
  }

  void restore(const JsonRow& row) {
    const std::string where = row.where();
    const Json& index = require_field(row.value, "prompt", where);
    const Json& responses = require_field(row.value, "responses", where);
    const bool fits = index.is_number_unsigned() && index < prompts_.size() && responses.is_array() && !responses.empty();
    if (!fits || static_cast<std::int64_t>(responses.size()) > missing(index.get<std::size_t>()))
      fail_input("{}: expected responses that are missing, got others; remove the file to begin anew", where);
    for (const Json& response : responses)
      if (!response.is_string()) fail_input("{}: responses: expected texts, got {}", where, json_type_name(response));
    const Json& ended = require_field(row.value, "ended", where);
    if (!ended.is_array() || ended.size() != responses.size() || !std::ranges::all_of(ended, &Json::is_boolean))
      fail_input("{}: ended: expected true or false for each response, got {}; remove the file to begin anew", where, ended.dump());
    const Json& tokens = require_field(row.value, "tokens", where);
    if (!tokens.is_number_integer()) fail_input("{}: tokens: expected a whole number, got {}", where, json_type_name(tokens));
    keep(index.get<std::size_t>(), responses.get<std::vector<std::string>>(), ended.get<std::vector<bool>>(), tokens.get<std::int64_t>());
  }

  void keep(std::size_t prompt, std::vector<std::string> responses, const std::vector<bool>& ended, std::int64_t tokens) {
    summary_.responses += static_cast<std::int64_t>(responses.size());
    summary_.ended += std::ranges::count(ended, true);
    summary_.tokens += tokens;
    for (std::size_t i = 0; i < responses.size(); ++i) groups_[prompt].push_back({std::move(responses[i]), ended[i]});
    summary_.prompts += missing(prompt) == 0;
  }

  std::optional<Request> next() {
    if (open_prompts_.empty()) return std::nullopt;
    const std::size_t prompt = open_prompts_.front();
    open_prompts_.pop_front();
    // Servers refuse several of what can only come out once.
    const std::int64_t count = singly_ || request_.temperature == 0 ? 1 : missing(prompt);
    CompletionSettings settings{request_.max_new_tokens, request_.temperature, request_.top_p, request_.top_k, request_.stop};
    settings.seed =
        static_cast<std::int64_t>(derive_seed(seed_, "server", prompt, groups_[prompt].size()) >> 33);  // 31 bits, which all take
    Request request = completion_request(server_.options, prompts_[prompt].prompt, settings, count);
    request.id = static_cast<std::int64_t>(prompt);
    request.where = prompts_[prompt].where;
    return request;
  }

  void take(const Request& asked, const Json& answer, const std::string& url) {
    Completion completion = parse_completion(answer, url);
    for (const CompletionChoice& choice : completion.choices) require_text(choice, url);
    const auto prompt = static_cast<std::size_t>(asked.id);
    if (static_cast<std::int64_t>(completion.choices.size()) > missing(prompt))
      completion.choices.resize(static_cast<std::size_t>(missing(prompt)));
    std::vector<std::string> responses;
    std::vector<bool> ended;
    for (CompletionChoice& choice : completion.choices) {
      ended.push_back(choice.ended);
      responses.push_back(*std::move(choice.text));
    }
    if (!std::exchange(begun_, true)) journal_->append({{"settings", settings_}});
    journal_->append({{"prompt", prompt}, {"responses", responses}, {"ended", ended}, {"tokens", completion.answer_tokens}});
    keep(prompt, std::move(responses), ended, completion.answer_tokens);
    if (missing(prompt) > 0) open_prompts_.push_front(prompt);
    log_.progress("sampling", summary_.prompts, static_cast<std::int64_t>(prompts_.size()), fmt::format("{} tokens", summary_.tokens));
  }

  // Some servers know only n = 1. The requests under way were refused as well, and each comes here.
  bool ask_singly(const Request& asked, const Failure& failure) {
    const bool may_be_n = failure.status == 400 || failure.status == 422 || failure.status == 500;
    if (!may_be_n || asked.body["n"] == 1) return false;
    if (!std::exchange(singly_, true)) log_.info("the server refused a request for several responses: asking for one at a time");
    open_prompts_.push_front(static_cast<std::size_t>(asked.id));
    return true;
  }

  void write() const {
    AtomicFile file(request_.output);
    for (std::size_t i = 0; i < prompts_.size(); ++i) {
      ResponseGroup group = begin_group(request_, prompts_[i]);
      for (const Received& response : groups_[i]) {
        group.responses.emplace_back(response.text);
        group.ended.push_back(response.ended);
      }
      file.write(to_json(group).dump() + "\n");
    }
    file.commit();
  }

  const SampleRequest& request_;
  const Server& server_;
  std::uint64_t seed_;
  Log& log_;
  std::string partial_;
  std::vector<Prompt> prompts_;
  std::vector<std::vector<Received>> groups_;  // responses received, by prompt
  std::deque<std::size_t> open_prompts_;       // with missing responses, and no request under way
  Json settings_;
  std::unique_ptr<Journal> journal_;
  bool begun_ = false;  // whether the journal holds the settings
  bool singly_ = false;
  SampleSummary summary_;
};

}  // namespace

SampleSummary sample_from_server(const SampleRequest& request, const Server& server, std::uint64_t seed, Log& log) {
  return ServerSampler(request, server, seed, log).run();
}

}  // namespace metarm
