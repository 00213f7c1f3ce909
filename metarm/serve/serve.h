// `metarm serve`: models, queue, protocols and HTTP put together.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/base/log.h"
#include "metarm/base/options.h"
#include "metarm/model/common_options.h"

namespace metarm {

struct ServeOptions {
  std::vector<std::string> model;
  std::string host = "127.0.0.1";
  std::int64_t port = 8000;
  std::string api_keys, tls_cert, tls_key;
  std::int64_t queue_rows = 4096;
  std::int64_t max_rows = 1024;
  std::int64_t max_body_mib = 64;
  double request_timeout = 600;
  std::int64_t connections = 4096;
  std::string state = "metarm-serve";
  bool no_log = false, redact = false;
  std::int64_t log_rows = 1'000'000, log_mib = 4096;
  double log_days = 30, log_rows_per_s = 200;
  double alarm_rate = 0.01;
  std::int64_t reference_groups = 256;
  std::vector<std::string> pairs, eval_pairs;
  std::string align, align_launcher;
  std::int64_t align_groups = 256, align_every = 0, align_steps = 0;
  double align_half_life = 3600, align_timeout = 3600;
  double accuracy_margin = 0.01;
  std::int64_t seed = 0;
  ScoringOptions scoring;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model,
          {.name = "model",
           .help =
               "Reward models: Hugging Face directories, PEFT adapters' or ensembles', each as NAME=DIRECTORY or a directory alone, whose "
               "last part is the name then. Requests that name none get the first.",
           .required = true});
    visit(self.host, {.name = "host", .help = "Address to listen at. Any but this machine's own needs --api-keys."});
    visit(self.port, {.name = "port", .help = "Port to listen at; 0: any that is free.", .min = 0, .max = 65535});
    visit(self.api_keys,
          {.name = "api-keys", .help = "File of lines `score KEY` and `admin KEY`; empty: anyone on this machine may score."});
    visit(self.tls_cert, {.name = "tls-cert", .help = "PEM file of the certificate and its chain; empty: plain HTTP.", .needs = "tls-key"});
    visit(self.tls_key, {.name = "tls-key", .help = "PEM file of the certificate's key.", .needs = "tls-cert"});
    visit(self.queue_rows,
          {.name = "queue-rows", .help = "Texts that may wait; more are refused with 429 and a time to come again.", .min = 1});
    visit(self.max_rows, {.name = "max-rows", .help = "Texts of one request, at most --queue-rows.", .min = 1});
    visit(self.max_body_mib,
          {.name = "max-body-mib", .help = "Size of a request's body at most, unpacked, in MiB.", .min = 1, .max = 4096});
    visit(self.request_timeout, {.name = "request-timeout",
                                 .help = "Seconds that a request may wait for its rewards before it is dropped.",
                                 .min = 0.01,
                                 .max = 86400});
    visit(self.connections, {.name = "connections",
                             .help = "Connections served at once; further ones wait. Where all but eight of them wait for rewards, further "
                                     "requests for some are refused with 429.",
                             .min = 1,
                             .max = 65536});
    visit(self.state, {.name = "state",
                       .help = "Folder, made where there is none: the shift log, all versions of the first model, and what became of them. "
                               "A server that is started with it again goes on with the version served last."});
    visit(self.no_log, {.name = "no-log", .help = "Keep nothing of what is scored, and make no --state."});
    visit(self.redact,
          {.name = "redact",
           .help = "Keep hashes of texts, and their rewards, instead of texts: the shift is noticed, but nothing can be aligned."});
    visit(self.log_rows, {.name = "log-rows", .help = "Rows of the shift log; the oldest go.", .min = 1});
    visit(self.log_mib,
          {.name = "log-mib", .help = "Size of the shift log in MiB; the oldest rows go.", .min = 1, .max = std::int64_t{1} << 40});
    visit(self.log_days, {.name = "log-days", .help = "Age of a row in days before it goes.", .min = 0.001, .max = 36500});
    visit(self.log_rows_per_s,
          {.name = "log-rows-per-s", .help = "Rows kept a second, on average; of more, whole prompts are drawn.", .min = 0.001});
    visit(self.alarm_rate, {.name = "alarm-rate",
                            .help = "Probability at most of a false alarm of the shift test in one period (docs/serving_shift.md).",
                            .min = 1e-9,
                            .max = 0.5});
    visit(self.reference_groups,
          {.name = "reference-groups",
           .help = "Prompts with two responses that each version takes as what is usual, from the moment that it is served.",
           .min = 10});
    visit(self.pairs, {.name = "pairs",
                       .help = "The pairs that the first model was trained on. With them the server aligns it when the shift test gives an "
                               "alarm, and at POST /v1/align."});
    visit(self.eval_pairs, {.name = "eval-pairs", .help = "Held-out pairs, on which the guard compares versions.", .needs = "pairs"});
    visit(self.align, {.name = "align",
                       .help = "TOML file of `metarm align`'s options for the server's alignments. Without max_steps or epochs: 50 steps.",
                       .needs = "pairs"});
    visit(self.align_launcher, {.name = "align-launcher",
                                .help = "Words put before `metarm align`, such as `mpirun -n 2` or `env CUDA_VISIBLE_DEVICES=1`.",
                                .needs = "pairs"});
    visit(self.align_groups, {.name = "align-groups",
                              .help = "Response groups that one alignment draws from the log, new ones more often; a fifth of them is "
                                      "held out for the guard. As many must come from one alignment to the next.",
                              .min = 10,
                              .needs = "pairs"});
    visit(self.align_every, {.name = "align-every",
                             .help = "Align after so many response groups, whatever the test says; 0: at its alarm.",
                             .min = 0,
                             .needs = "pairs"});
    visit(self.align_steps, {.name = "align-steps",
                             .help = "Align each time that a request's X-Metarm-Step passes a multiple of this, before that request is "
                                     "scored, and at no other moment; 0: off.",
                             .min = 0,
                             .needs = "pairs"});
    visit(self.align_half_life,
          {.name = "align-half-life",
           .help = "Age at which a group in the log has half the weight of a new one: seconds, with --align-steps the trainer's steps.",
           .min = 1e-3,
           .needs = "pairs"});
    visit(self.align_timeout,
          {.name = "align-timeout", .help = "Seconds that an alignment may take before it is ended.", .min = 1, .needs = "pairs"});
    visit(self.accuracy_margin, {.name = "accuracy-margin",
                                 .help = "Fall of the accuracy on --eval-pairs that the guard bears; its 95 % bound counts.",
                                 .min = -1,
                                 .max = 1,
                                 .needs = "pairs"});
    visit(self.seed, {.name = "seed", .help = "Seed of alignments, draws and the shift test."});
    // Rows on disk are another command's, and --seed is above.
    const auto others = [&](auto& value, const FieldInfo& info) {
      if (std::string_view(info.name) != "skip-bad-rows" && std::string_view(info.name) != "seed") visit(value, info);
    };
    ScoringOptions::fields(self.scoring, others);
    CommonOptions::fields(self.common, others);
  }
};

// Serves until `stop`, which `ready` is given together with {"url", "models"} once requests are taken, is called from another thread (at
// most once). Returns when all that was accepted is answered. Input errors for options that do not go together; io errors where it cannot
// listen; else those of open_reward_model.
void serve(const ServeOptions& options, Log& log, const std::function<void(const Json& state, std::function<void()> stop)>& ready);

}  // namespace metarm
