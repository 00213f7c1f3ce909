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
  std::int64_t connections = 256;
  ScoringOptions scoring;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model,
          {.name = "model",
           .help = "Reward models: Hugging Face directories or PEFT adapters', each as NAME=DIRECTORY or a directory alone, whose "
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
    visit(self.connections, {.name = "connections", .help = "Connections served at once; further ones wait.", .min = 1, .max = 4096});
    // Neither rows on disk nor random choices: options about them would be without effect.
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
