#include "metarm/model/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/generate.h"

namespace metarm {

namespace {

std::vector<TokenId> list_end_tokens(const Tokenizer& tokenizer, const CheckpointConfig& config) {
  std::vector<std::int64_t> ids = config.end_token_ids;
  const std::string generation = (std::filesystem::path(config.directory) / "generation_config.json").string();
  if (std::filesystem::exists(generation))
    for (const std::int64_t id : token_id_list(load_json(generation), "eos_token_id", generation)) ids.push_back(id);
  std::vector<TokenId> ends;
  if (tokenizer.special().eos) ends.push_back(*tokenizer.special().eos);
  for (const std::int64_t id : ids)
    if (id >= 0 && id < config.spec.vocab_size) ends.push_back(static_cast<TokenId>(id));
  return ends;
}

std::optional<std::size_t> find_stop(const std::string& text, const std::vector<std::string>& stops) {
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops) first = std::min(first, text.find(stop));
  return first == std::string::npos ? std::nullopt : std::optional(first);
}

class Sampler {
 public:
  Sampler(const SampleOptions& options, Log& log)
      : options_(options),
        log_(log),
        device_(resolve_device(options.common)),
        tokenizer_(Tokenizer::load(options.model)),
        chat_(ChatTemplate::load(options.model, tokenizer_, options.chat_template)) {
    if (std::ranges::find(options.stop, "") != options.stop.end()) fail_input("--stop: expected texts, got an empty one");
  }

  SampleSummary run() {
    const Rows<Prompt> rows = read_prompts(options_.prompts, options_.skip_bad_rows ? BadRows::skip : BadRows::stop);
    log_skipped(rows.report, log_);
    summary_.skipped = rows.report.skipped;
    AtomicFile file(options_.output);
    const LoadedLanguageModel policy =
        load_language_model(options_.model, resolve_dtype(options_.common, device_, Work::sampling), device_, log_);
    const std::vector<TokenIds> prompts = encode(rows.rows);
    const auto start = std::chrono::steady_clock::now();
    const auto responses = generate(policy.model, prompts, generate_options(policy.config), [&](std::int64_t done, std::int64_t tokens) {
      log_.progress("sampling", done, static_cast<std::int64_t>(prompts.size()), fmt::format("{} tokens", tokens));
    });
    summary_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (std::size_t i = 0; i < responses.size(); ++i)
      file.write(to_json(make_group(rows.rows[i], prompts[i], responses[i])).dump() + "\n");
    file.commit();
    return summary_;
  }

 private:
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
    made.responses = options_.responses;
    made.max_new_tokens = options_.max_new_tokens;
    made.sampling = {options_.temperature, options_.top_p, options_.top_k};
    made.seed = static_cast<std::uint64_t>(options_.common.seed);
    made.end_tokens = list_end_tokens(tokenizer_, config);
    made.tokens_per_batch = options_.tokens_per_batch;
    if (!options_.stop.empty())
      made.stop = [this](const TokenIds& tokens) { return find_stop(tokenizer_.decode(tokens, true), options_.stop).has_value(); };
    return made;
  }

  // Some decoders drop a text's leading space, so a response is what the decoded whole has beyond the decoded prompt.
  std::string response_text(const TokenIds& prompt, const TokenIds& response) const {
    TokenIds whole = prompt;
    whole.insert(whole.end(), response.begin(), response.end());
    const std::string before = tokenizer_.decode(prompt, true), all = tokenizer_.decode(whole, true);
    std::string text = all.starts_with(before) ? all.substr(before.size()) : tokenizer_.decode(response, true);
    if (const auto end = find_stop(text, options_.stop)) text.resize(*end);
    return text;
  }

  ResponseGroup make_group(const Prompt& row, const TokenIds& prompt, const std::vector<GeneratedResponse>& responses) {
    ResponseGroup group;
    group.prompt = row.prompt;
    group.id = row.id;
    group.policy = options_.policy;
    group.round = options_.round;
    for (const GeneratedResponse& response : responses) {
      group.responses.emplace_back(response_text(prompt, response.tokens));
      summary_.tokens += static_cast<std::int64_t>(response.tokens.size());
      summary_.ended += response.ended;
      ++summary_.responses;
    }
    ++summary_.prompts;
    return group;
  }

  const SampleOptions& options_;
  Log& log_;
  at::Device device_;
  Tokenizer tokenizer_;
  std::optional<ChatTemplate> chat_;
  SampleSummary summary_;
};

}  // namespace

SampleSummary sample_responses(const SampleOptions& options, Log& log) { return Sampler(options, log).run(); }

}  // namespace metarm
