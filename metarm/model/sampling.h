// From prompt rows to response groups: what `metarm sample` does.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/ranks.h"
#include "metarm/data/rows.h"
#include "metarm/model/common_options.h"

namespace metarm {

enum class Quantization { none, int8 };
template <>
struct EnumNames<Quantization> {
  static constexpr std::pair<Quantization, const char*> values[] = {{Quantization::none, "none"}, {Quantization::int8, "int8"}};
};

struct SampleOptions {
  std::string model;
  std::vector<std::string> prompts;
  std::string output;
  std::int64_t responses = 4;
  std::int64_t best_of = 0;
  std::string rm;
  std::int64_t max_new_tokens = 128;
  std::int64_t max_prompt_length = 1024;
  double temperature = 1.0;
  double top_p = 1.0;
  std::int64_t top_k = 0;
  std::vector<std::string> stop;
  std::int64_t tokens_per_batch = 16384;
  Quantization quantization = Quantization::none;
  ChatFormat chat_template = ChatFormat::automatic;
  bool skip_bad_rows = false;
  std::string policy;
  std::int64_t round = -1;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model, {.name = "model", .help = "Policy: a causal language model's Hugging Face directory.", .required = true});
    visit(self.prompts,
          {.name = "prompts",
           .help = "JSON lines with `prompt`, a text or a list of messages; pairs' and groups' prompts are taken too. .gz accepted.",
           .required = true});
    visit(self.output, {.name = "output", .help = "Where the response groups go, one a prompt.", .required = true});
    visit(self.responses, {.name = "responses", .help = "Responses a prompt, k. [paper k, TRL num_generations]", .min = 1, .max = 1024});
    visit(self.best_of,
          {.name = "best-of",
           .help = "Draw so many responses a prompt and write the one with the highest reward, and that; 0: write all of --responses.",
           .min = 0,
           .max = 1024,
           .needs = "rm"});
    visit(self.rm, {.name = "rm", .help = "Reward model for --best-of: a Hugging Face directory or a PEFT adapter's.", .needs = "best-of"});
    visit(self.max_new_tokens, {.name = "max-new-tokens", .help = "Tokens of a response at most.", .min = 1});
    visit(self.max_prompt_length, {.name = "max-prompt-length", .help = "A longer prompt loses its oldest tokens; 0: no limit.", .min = 0});
    visit(self.temperature,
          {.name = "temperature", .help = "Sampling temperature; 0: always the most probable token.", .min = 0, .max = 100});
    visit(self.top_p,
          {.name = "top-p", .help = "Keep the most probable tokens that together reach this probability.", .min = 1e-6, .max = 1});
    visit(self.top_k, {.name = "top-k", .help = "Keep the k most probable tokens; 0: all.", .min = 0});
    visit(self.stop, {.name = "stop", .help = "Texts that end a response; they are cut off. Useful with base models."});
    visit(self.tokens_per_batch,
          {.name = "tokens-per-batch", .help = "Memory bound: tokens whose keys and values are held at once.", .min = 1});
    visit(
        self.quantization,
        {.name = "quantization",
         .help = "Type of the policy's matrices, on the CPU; int8 takes a quarter of float32's memory and moves probabilities a little."});
    visit(self.chat_template, {.name = "chat-template", .help = "How conversations become text; auto: as the checkpoint says."});
    visit(self.skip_bad_rows, {.name = "skip-bad-rows", .help = "Count and report malformed rows instead of stopping at the first."});
    visit(self.policy, {.name = "policy", .help = "Name of the policy, written into each group; empty: none."});
    visit(self.round, {.name = "round", .help = "Round of RLHF, written into each group; -1: none.", .min = -1});
    CommonOptions::fields(self.common, visit);
  }
};

struct SampleSummary {
  std::int64_t prompts = 0, responses = 0, tokens = 0, ended = 0;
  std::int64_t skipped = 0;  // malformed rows
  double seconds = 0;
};

// Samples and writes the groups to options.output, which appears whole or not at all. All ranks call it and divide the prompts; the first
// writes.
SampleSummary sample_responses(const SampleOptions& options, Ranks& ranks, Log& log);

}  // namespace metarm
