// From prompt rows to response groups: what `metarm sample` does.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/ranks.h"
#include "metarm/data/sample_request.h"
#include "metarm/model/common_options.h"

namespace metarm {

enum class Quantization { none, int8 };
template <>
struct EnumNames<Quantization> {
  static constexpr std::pair<Quantization, const char*> values[] = {{Quantization::none, "none"}, {Quantization::int8, "int8"}};
};

struct SampleOptions : SampleRequest {
  std::string model;
  std::int64_t best_of = 0;
  std::string rm;
  std::int64_t max_prompt_length = 1024;
  std::int64_t tokens_per_batch = 16384;
  Quantization quantization = Quantization::none;
  ChatFormat chat_template = ChatFormat::automatic;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model, {.name = "model", .help = "Policy: a causal language model's Hugging Face directory. This or --server is needed."});
    SampleRequest::fields(self, visit);
    visit(self.best_of,
          {.name = "best-of",
           .help = "Draw so many responses a prompt and write the one with the highest reward, and that; 0: write all of --responses.",
           .min = 0,
           .max = 1024,
           .needs = "rm"});
    visit(self.rm, {.name = "rm",
                    .help = "Reward model for --best-of: a Hugging Face directory, a PEFT adapter's or an ensemble's.",
                    .needs = "best-of"});
    visit(self.max_prompt_length, {.name = "max-prompt-length", .help = "A longer prompt loses its oldest tokens; 0: no limit.", .min = 0});
    visit(self.tokens_per_batch,
          {.name = "tokens-per-batch", .help = "Memory bound: tokens whose keys and values are held at once.", .min = 1});
    visit(
        self.quantization,
        {.name = "quantization",
         .help = "Type of the policy's matrices, on the CPU; int8 takes a quarter of float32's memory and moves probabilities a little."});
    visit(self.chat_template, {.name = "chat-template", .help = "How conversations become text; auto: as the checkpoint says."});
    CommonOptions::fields(self.common, visit);
  }
};

// Samples and writes the groups to options.output, which appears whole or not at all. All ranks call it and divide the prompts; the first
// writes.
SampleSummary sample_responses(const SampleOptions& options, Ranks& ranks, Log& log);

}  // namespace metarm
