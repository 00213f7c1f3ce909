#include "metarm/serve/serve.h"

#include <fmt/format.h>

#include <memory>
#include <mutex>

#include "metarm/base/error.h"
#include "metarm/http/api_keys.h"
#include "metarm/http/http_server.h"
#include "metarm/http/reward_routes.h"
#include "metarm/serve/reward_server.h"

namespace metarm {

namespace {

bool is_loopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

void check_options(const ServeOptions& options) {
  if (!is_loopback(options.host) && options.api_keys.empty())
    fail_input("serve: --host: expected 127.0.0.1, ::1 or localhost without --api-keys, got {}; others could score, too", options.host);
  if (options.max_rows > options.queue_rows)
    fail_input("serve: --max-rows: expected at most --queue-rows, {}, got {}; such a request could never wait", options.queue_rows,
               options.max_rows);
}

HttpServerOptions http_options(const ServeOptions& options) {
  HttpServerOptions http;
  http.host = options.host;
  http.port = static_cast<int>(options.port);
  http.tls_cert = options.tls_cert;
  http.tls_key = options.tls_key;
  http.connections = options.connections;
  http.max_body_bytes = options.max_body_mib << 20;
  return http;
}

Json describe(const HttpServer& http, const RewardServer& server) {
  Json models = Json::array();
  for (const ServedModel& model : server.models()) models.push_back({{"name", model.name}, {"version", model.version}});
  return {{"url", http.url()}, {"models", std::move(models)}};
}

}  // namespace

void serve(const ServeOptions& options, Log& log, const std::function<void(const Json& state, std::function<void()> stop)>& ready) {
  check_options(options);
  ApiKeys keys = options.api_keys.empty() ? ApiKeys() : ApiKeys::load(options.api_keys);
  if (!is_loopback(options.host) && options.tls_cert.empty())
    log.warn("keys and texts pass the network unencrypted; --tls-cert changes that");

  const auto open = [&](const std::string& directory) -> std::shared_ptr<const ModelVersion> {
    return std::make_shared<ModelVersion>(directory, options.scoring, options.common, log);
  };
  RewardServer server(parse_models(options.model), open, {options.queue_rows, options.scoring.tokens_per_batch});
  RewardRoutes routes(server, std::move(keys), {options.max_rows, options.request_timeout}, log);
  HttpServer http(http_options(options), routes);

  std::mutex stopping;
  ready(describe(http, server), [&] {
    const std::lock_guard lock(stopping);
    routes.close();
    http.stop();
  });
  http.run();
  const std::lock_guard until_stop_has_returned(stopping);
}

}  // namespace metarm
