// What is asked of a policy, on this machine or behind a server: response groups for rows of prompts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/base/options.h"
#include "metarm/data/rows.h"

namespace metarm {

struct SampleRequest {
  std::vector<std::string> prompts;
  std::string output;
  std::int64_t responses = 4;
  std::int64_t max_new_tokens = 128;
  double temperature = 1.0;
  double top_p = 1.0;
  std::int64_t top_k = 0;
  std::vector<std::string> stop;
  bool skip_bad_rows = false;
  std::string policy;
  std::int64_t round = -1;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.prompts,
          {.name = "prompts",
           .help = "JSON lines with `prompt`, a text or a list of messages; pairs' and groups' prompts are taken too. .gz accepted.",
           .required = true});
    visit(self.output, {.name = "output", .help = "Where the response groups go, one a prompt.", .required = true});
    visit(self.responses, {.name = "responses", .help = "Responses a prompt, k. [paper k, TRL num_generations]", .min = 1, .max = 1024});
    visit(self.max_new_tokens, {.name = "max-new-tokens", .help = "Tokens of a response at most.", .min = 1});
    visit(self.temperature,
          {.name = "temperature", .help = "Sampling temperature; 0: always the most probable token.", .min = 0, .max = 100});
    visit(self.top_p,
          {.name = "top-p", .help = "Keep the most probable tokens that together reach this probability.", .min = 1e-6, .max = 1});
    visit(self.top_k, {.name = "top-k", .help = "Keep the k most probable tokens; 0: all.", .min = 0});
    visit(self.stop, {.name = "stop", .help = "Texts that end a response; they are cut off. Useful with base models."});
    visit(self.skip_bad_rows, {.name = "skip-bad-rows", .help = "Count and report malformed rows instead of stopping at the first."});
    visit(self.policy, {.name = "policy", .help = "Name of the policy, written into each group; empty: none."});
    visit(self.round, {.name = "round", .help = "Round of RLHF, written into each group; -1: none.", .min = -1});
  }

  BadRows bad_rows() const { return skip_bad_rows ? BadRows::skip : BadRows::stop; }
};

struct SampleSummary {
  std::int64_t prompts = 0, responses = 0, tokens = 0, ended = 0;
  std::int64_t skipped = 0;  // malformed rows
  double seconds = 0;
};

// A row's group before it has responses.
ResponseGroup begin_group(const SampleRequest& request, const Prompt& row);

}  // namespace metarm
