#include "metarm/model/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/stopwatch.h"
#include "metarm/model/best_of.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/generate.h"
#include "metarm/model/response_text.h"

namespace metarm {

namespace {

std::optional<std::size_t> find_stop(const std::string& text, const std::vector<std::string>& stops) {
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops) first = std::min(first, text.find(stop));
  return first == std::string::npos ? std::nullopt : std::optional(first);
}

constexpr std::size_t kBlockPrompts = 4096;  // of a rank, whose responses are held at once

class Sampler {
 public:
  Sampler(const SampleOptions& options, Ranks& ranks, Log& log)
      : options_(options),
        ranks_(ranks),
        log_(log),
        device_(resolve_device(options.common)),
        tokenizer_(Tokenizer::load(tokenizer_directory(options.model))),
        chat_(load_chat_template(options.model, tokenizer_, options.chat_template)) {
    if (options.quantization != Quantization::none && !device_.is_cpu())
      fail_input("--quantization: expected --device cpu with it, got a GPU, where matrices stay in --dtype");
    if (options.best_of > 0) best_of_.emplace(options.rm, options.common, options.tokens_per_batch, log);
    if (std::ranges::find(options.stop, "") != options.stop.end()) fail_input("--stop: expected texts, got an empty one");
  }

  SampleSummary run() {
    const Rows<Prompt> rows = read_prompts(options_.prompts, options_.bad_rows());
    log_skipped(rows.report, log_);
    summary_.skipped = rows.report.skipped;
    std::optional<AtomicFile> file;
    if (ranks_.first()) file.emplace(options_.output);
    LoadedLanguageModel policy =
        load_language_model(options_.model, resolve_dtype(options_.common, device_, Work::sampling), device_, log_);
    pack_for_generation(policy.model, options_.quantization == Quantization::int8);
    const std::vector<TokenIds> prompts = encode(rows.rows);
    const Stopwatch stopwatch;
    const std::size_t block = kBlockPrompts * static_cast<std::size_t>(ranks_.size());
    for (std::size_t begin = 0; begin < prompts.size(); begin += block) {
      const std::string lines = sample_block(policy, rows.rows, prompts, begin, std::min(begin + block, prompts.size()));
      for (const std::string& of_rank : ranks_.gather_to_first(lines)) file->write(of_rank);
    }
    summary_.seconds = stopwatch.seconds();
    sum_up();
    if (file) file->commit();
    return summary_;
  }

 private:
  std::int64_t drawn() const { return options_.best_of > 0 ? options_.best_of : options_.responses; }  // a prompt

  // This rank's groups of prompts [begin, end), a line each.
  std::string sample_block(const LoadedLanguageModel& policy, const std::vector<Prompt>& rows, const std::vector<TokenIds>& prompts,
                           std::size_t begin, std::size_t end) {
    std::vector<std::int64_t> costs;
    for (std::size_t i = begin; i < end; ++i)
      costs.push_back(static_cast<std::int64_t>(prompts[i].size()) + drawn() * options_.max_new_tokens);
    const Part own = consecutive_rows_of_rank(costs, ranks_.rank(), ranks_.size());
    const std::size_t first = begin + static_cast<std::size_t>(own.begin), count = static_cast<std::size_t>(own.size());
    const auto show = [&](std::int64_t done, std::int64_t tokens) {
      const auto of_all = static_cast<std::size_t>(done) * (end - begin) / count;
      log_.progress("sampling", static_cast<std::int64_t>(begin + of_all), static_cast<std::int64_t>(prompts.size()),
                    fmt::format("{} tokens{}", summary_.tokens + tokens, ranks_.size() > 1 ? " on the first rank" : ""));
    };
    const std::span own_prompts = std::span(prompts).subspan(first, count);
    GenerateOptions how = generate_options(policy.config);
    how.first_prompt = first;
    if (!options_.stop.empty())
      how.stop = [&](std::size_t prompt, const TokenIds& response) {
        return find_stop(response_text(tokenizer_, own_prompts[prompt], response), options_.stop).has_value();
      };
    const auto responses = generate(policy.model, own_prompts, how, show);
    std::vector<ResponseGroup> groups;
    for (std::size_t i = 0; i < responses.size(); ++i) groups.push_back(make_group(rows[first + i], prompts[first + i], responses[i]));
    if (best_of_) best_of_->keep_best(groups);
    std::string lines;
    for (const ResponseGroup& group : groups) lines += to_json(group).dump() + "\n";
    return lines;
  }

  void sum_up() {
    std::vector<double> counts;
    for (const std::int64_t count : {summary_.prompts, summary_.responses, summary_.tokens, summary_.ended})
      counts.push_back(static_cast<double>(count));
    ranks_.sum(counts);
    std::size_t next = 0;
    for (std::int64_t* count : {&summary_.prompts, &summary_.responses, &summary_.tokens, &summary_.ended})
      *count = static_cast<std::int64_t>(counts[next++]);
  }

  std::vector<TokenIds> encode(const std::vector<Prompt>& rows) {
    Encoder encoder(tokenizer_, chat_ ? &*chat_ : nullptr, 0);
    std::vector<TokenIds> prompts;
    for (const Prompt& row : rows) {
      prompts.push_back(encoder.prompt(row.prompt, options_.max_prompt_length, row.where));
      if (prompts.back().empty()) fail_input("{}: prompt: expected at least one token, got none", row.where);
    }
    for (const std::string& note : encoder.report().notes("--max-prompt-length")) log_.info(note);
    return prompts;
  }

  GenerateOptions generate_options(const CheckpointConfig& config) const {
    GenerateOptions made;
    made.responses = drawn();
    made.max_new_tokens = options_.max_new_tokens;
    made.sampling = {options_.temperature, options_.top_p, options_.top_k};
    made.seed = static_cast<std::uint64_t>(options_.common.seed);
    made.end_tokens = list_end_tokens(tokenizer_, config);
    made.tokens_per_batch = options_.tokens_per_batch;
    return made;
  }

  std::string stopped_text(const TokenIds& prompt, const TokenIds& response) const {
    std::string text = response_text(tokenizer_, prompt, response);
    if (const auto end = find_stop(text, options_.stop)) text.resize(*end);
    return text;
  }

  ResponseGroup make_group(const Prompt& row, const TokenIds& prompt, const std::vector<GeneratedResponse>& responses) {
    ResponseGroup group = begin_group(options_, row);
    for (const GeneratedResponse& response : responses) {
      group.responses.emplace_back(stopped_text(prompt, response.tokens));
      summary_.tokens += static_cast<std::int64_t>(response.tokens.size());
      group.ended.push_back(response.ended);
      summary_.ended += response.ended;
      ++summary_.responses;
    }
    ++summary_.prompts;
    return group;
  }

  const SampleOptions& options_;
  Ranks& ranks_;
  Log& log_;
  at::Device device_;
  Tokenizer tokenizer_;
  std::optional<ChatTemplate> chat_;
  std::optional<BestOf> best_of_;
  SampleSummary summary_;
};

}  // namespace

SampleSummary sample_responses(const SampleOptions& options, Ranks& ranks, Log& log) { return Sampler(options, ranks, log).run(); }

}  // namespace metarm
