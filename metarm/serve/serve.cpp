#include "metarm/serve/serve.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string_view>

#include "metarm/base/error.h"
#include "metarm/http/api_keys.h"
#include "metarm/http/http_server.h"
#include "metarm/http/reward_routes.h"
#include "metarm/model/ensemble_config.h"
#include "metarm/serve/aligned_service.h"

namespace metarm {

namespace {

std::string text_of(const FieldValue& value) {
  if (const auto* name = std::get_if<EnumRef>(&value)) return name->names[static_cast<std::size_t>(name->index)];
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  const auto* text = std::get_if<std::string>(&value);
  return text != nullptr ? *text : "";
}

void check_log_options(const ServeOptions& options) {
  const ServeOptions usual;
  const std::pair<const char*, bool> given[] = {{"state", options.state != usual.state},
                                                {"redact", options.redact},
                                                {"pairs", !options.pairs.empty()},
                                                {"log-rows", options.log_rows != usual.log_rows},
                                                {"log-mib", options.log_mib != usual.log_mib},
                                                {"log-days", options.log_days != usual.log_days},
                                                {"log-rows-per-s", options.log_rows_per_s != usual.log_rows_per_s}};
  for (const auto& [name, is_given] : given)
    if (options.no_log && is_given) fail_input("serve: --no-log: expected it without --{}, which has no effect then", name);
  if (options.align_steps > 0 && options.log_rows_per_s != usual.log_rows_per_s)
    fail_input("serve: --align-steps: expected it without --log-rows-per-s: all rows are kept, so that runs repeat");
}

void check_options(const ServeOptions& options) {
  if (!is_loopback(options.host) && options.api_keys.empty())
    fail_input("serve: --host: expected 127.0.0.1, ::1 or localhost without --api-keys, got {}; others could score, too", options.host);
  if (options.max_rows > options.queue_rows)
    fail_input("serve: --max-rows: expected at most --queue-rows, {}, got {}; such a request could never wait", options.queue_rows,
               options.max_rows);
  check_log_options(options);
  if (options.redact && !options.pairs.empty())
    fail_input("serve: --redact: expected it without --pairs, got both; responses cannot be aligned to without their texts");
  if (!options.pairs.empty() && options.eval_pairs.empty())
    fail_input("serve: --pairs: expected --eval-pairs beside it, got none; the guard measures on held-out pairs");
  if (const std::string first = parse_models(options.model).front().directory; !options.pairs.empty() && is_ensemble(first))
    fail_input("serve: --pairs: expected one reward model to align, got an ensemble, {}", first);
  if (options.align_steps > 0 && options.align_every > 0) fail_input("serve: --align-steps: expected it without --align-every, got both");
}

// Of what is not at its default, that which decides how a text is read and where it is computed.
std::vector<std::pair<std::string, std::string>> shared_options(const ServeOptions& options) {
  static const std::set<std::string_view> kShared = {"chat-template", "pooling", "max-length", "device", "dtype", "threads"};
  const std::vector<Field> given = list_fields(options), defaults = list_fields(ServeOptions());
  std::vector<std::pair<std::string, std::string>> shared;
  for (std::size_t i = 0; i < given.size(); ++i)
    if (const std::string text = text_of(given[i].value); kShared.contains(given[i].info.name) && text != text_of(defaults[i].value))
      shared.emplace_back(given[i].info.name, text);
  return shared;
}

SelfAlignmentOptions alignment_options(const ServeOptions& options) {
  SelfAlignmentOptions alignment;
  alignment.process.pairs = options.pairs;
  alignment.process.config = options.align;
  std::istringstream words(options.align_launcher);
  for (std::string word; words >> word;) alignment.process.launcher.push_back(word);
  alignment.process.shared = shared_options(options);
  alignment.process.timeout_s = options.align_timeout;
  alignment.eval_pairs = options.eval_pairs;
  alignment.groups = options.align_groups;
  alignment.every = options.align_every;
  alignment.steps = options.align_steps;
  alignment.half_life = options.align_half_life;
  alignment.guard.accuracy_margin = options.accuracy_margin;
  alignment.seed = static_cast<std::uint64_t>(options.seed);
  return alignment;
}

AlignedServiceOptions service_options(const ServeOptions& options) {
  AlignedServiceOptions service;
  service.test.alpha = options.alarm_rate;
  service.test.seed = static_cast<std::uint64_t>(options.seed);
  service.reference_groups = options.reference_groups;
  service.alignment = alignment_options(options);
  if (options.no_log) return service;
  service.state = options.state;
  ShiftLogOptions log;
  log.path = options.state + "/log.sqlite";
  log.limits.rows = options.log_rows;
  log.redact = options.redact;
  log.seed = service.test.seed;
  log.limits.age_s = options.log_days * 86400;
  log.limits.bytes = options.log_mib << 20;
  // Told by the trainer's steps, so that a run can be repeated: how fast the rows come must not matter then.
  log.rows_per_s = options.align_steps > 0 ? 1e9 : options.log_rows_per_s;
  service.log = log;
  return service;
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

// So many connections that GET requests are answered while all others wait for rewards.
std::int64_t kept_connections(std::int64_t connections) { return std::min<std::int64_t>(connections / 2, 8); }

// A connection is an open file.
void allow_open_files(std::int64_t connections) {
  constexpr rlim_t kOthers = 256;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::min(limit.rlim_max, std::max(limit.rlim_cur, static_cast<rlim_t>(connections) + kOthers));
  setrlimit(RLIMIT_NOFILE, &limit);
}

void warn_if_open(const std::string& path, Log& log) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && (status.st_mode & 077) != 0)
    log.warn(
        fmt::format("{} is open to other users of this machine (mode {:o}); `chmod go= {}` closes it", path, status.st_mode & 0777, path));
}

Json describe(const HttpServer& http, const RewardService& service) {
  Json models = Json::array();
  for (const ServedModel& model : service.models()) models.push_back({{"name", model.name}, {"version", model.version}});
  return {{"url", http.url()}, {"models", std::move(models)}};
}

}  // namespace

void serve(const ServeOptions& options, Log& log, const std::function<void(const Json& state, std::function<void()> stop)>& ready) {
  check_options(options);
  ApiKeys keys = options.api_keys.empty() ? ApiKeys() : ApiKeys::load(options.api_keys);
  if (!is_loopback(options.host) && options.tls_cert.empty())
    log.warn("keys and texts pass the network unencrypted; --tls-cert changes that");

  const auto open = [&](const std::string& directory) -> std::shared_ptr<ModelVersion> {
    return std::make_shared<ModelVersion>(directory, options.scoring, options.common, log);
  };
  const AlignedServiceOptions service_settings = service_options(options);
  check(service_settings.alignment.process);
  if (!options.api_keys.empty()) warn_if_open(options.api_keys, log);
  if (service_settings.log) warn_if_open(options.state, log);
  allow_open_files(options.connections);
  AlignedService service(parse_models(options.model), open, {options.queue_rows, options.scoring.tokens_per_batch}, service_settings, log);
  if (service_settings.log) log.info(fmt::format("what is scored is kept in {}; --no-log keeps nothing", options.state));
  RewardRoutes routes(service, std::move(keys),
                      {.max_rows = options.max_rows,
                       .request_timeout_s = options.request_timeout,
                       .answers_at_once = options.connections - kept_connections(options.connections)},
                      log);
  HttpServer http(http_options(options), routes);

  std::mutex stopping;
  ready(describe(http, service), [&] {
    const std::lock_guard lock(stopping);
    routes.close();
    http.stop();
  });
  http.run();
  const std::lock_guard until_stop_has_returned(stopping);
}

}  // namespace metarm
