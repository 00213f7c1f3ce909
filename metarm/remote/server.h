// Which OpenAI-compatible server is asked, and how: vLLM, SGLang, llama.cpp's, or OpenAI's own.
#pragma once

#include <cstdint>
#include <string>

#include "metarm/base/options.h"

namespace metarm {

struct ServerOptions {
  std::string server;
  std::string server_model;
  std::string api_key_env;
  std::int64_t concurrency = 16;
  double timeout = 600;
  std::int64_t retries = 6;
  std::string proxy;
  bool strict_openai = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.server,
          {.name = "server", .help = "An OpenAI-compatible server (vLLM, SGLang, llama.cpp): http://HOST:PORT, with or without /v1."});
    visit(self.server_model,
          {.name = "server-model", .help = "The model's name at the server, as /v1/models lists it.", .needs = "server"});
    visit(self.api_key_env,
          {.name = "api-key-env", .help = "Environment variable that holds the server's key, such as OPENAI_API_KEY.", .needs = "server"});
    visit(self.concurrency,
          {.name = "concurrency", .help = "Requests that the server has at once.", .min = 1, .max = 4096, .needs = "server"});
    visit(self.timeout, {.name = "timeout",
                         .help = "Seconds that one request may take before it is repeated.",
                         .min = 0.1,
                         .max = 86400,
                         .needs = "server"});
    visit(self.retries,
          {.name = "retries",
           .help = "How often a request is repeated that failed for a passing reason, after 0.5 s, 1 s, 2 s and so on up to 30 s.",
           .min = 0,
           .max = 1000,
           .needs = "server"});
    visit(self.proxy, {.name = "proxy", .help = "HTTP proxy to the server; the environment's are not used.", .needs = "server"});
    visit(
        self.strict_openai,
        {.name = "strict-openai",
         .help = "Send the fields of OpenAI's API alone, for servers that refuse others. Without, top_k, min_p and repetition_penalty are "
                 "sent too, so that defaults of the server do not cut the distribution.",
         .needs = "server"});
  }
};

struct Server {
  ServerOptions options;
  std::string url;      // ends in /v1 or another version
  std::string api_key;  // empty: none
};

// Checks the URL and the rest. Input errors: no http:// or https://, credentials or a query in the URL, no model, a key that is no header.
Server make_server(const ServerOptions& options, std::string api_key);

}  // namespace metarm
