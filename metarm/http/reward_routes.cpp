#include "metarm/http/reward_routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <new>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/wall_clock.h"
#include "metarm/http/dashboard.h"
#include "metarm/http/protocols.h"

namespace metarm {

std::string_view http_file(std::string_view name);  // CMakeLists.txt lists them

Json load_openapi() { return parse_json(http_file("openapi.json"), "openapi.json"); }

namespace {

enum class Dialect { common, vllm, tei };  // of errors

Json answer_align(const Json&, Scoring& scoring) {
  if (const std::optional<std::string> reason = scoring.service().begin_alignment()) throw Refusal(409, *reason);
  return {{"state", "running"}};
}

Json answer_rollback(const Json& body, Scoring& scoring) { return scoring.service().roll_back(body["version"].get<std::int64_t>()); }

std::optional<std::int64_t> parse_step(const std::optional<std::string>& given) {
  if (!given) return {};
  const std::string& header = *given;
  if (header.empty() || header.size() > 18 || !std::ranges::all_of(header, [](char c) { return c >= '0' && c <= '9'; }))
    fail_input("X-Metarm-Step: expected a whole number, got another header");
  return std::stoll(header);
}

}  // namespace

struct RewardRoutes::Route {
  const char* method;
  const char* path;
  const char* key;  // a field that tells this protocol's bodies from another's at the same path; null: any
  Dialect dialect;
  std::optional<Role> role;  // none: open to all
  Json (*answer)(const Json& body, Scoring& scoring) = nullptr;
  Json (*document)(const RewardService& service, bool for_admin) = nullptr;  // of a GET
  int success = 200;
};

const RewardRoutes::Route* RewardRoutes::find_route(const HttpRequest& request, const Json* body) {
  constexpr Role score = Role::score;
  static const Route kRoutes[] = {
      {"POST", "/v1/rewards", nullptr, Dialect::common, score, answer_rewards},
      {"POST", "/get_reward", nullptr, Dialect::common, score, answer_get_reward},
      {"POST", "/classify", "text", Dialect::common, score, answer_sglang_classify},
      {"POST", "/classify", nullptr, Dialect::vllm, score, answer_vllm_classify},
      {"POST", "/v1/classify", nullptr, Dialect::vllm, score, answer_vllm_classify},
      {"POST", "/pooling", nullptr, Dialect::vllm, score, answer_vllm_pooling},
      {"POST", "/v1/pooling", nullptr, Dialect::vllm, score, answer_vllm_pooling},
      {"POST", "/score", nullptr, Dialect::vllm, score, answer_vllm_score},
      {"POST", "/v1/score", nullptr, Dialect::vllm, score, answer_vllm_score},
      {"POST", "/rerank", "texts", Dialect::tei, score, answer_tei_rerank},
      {"POST", "/rerank", nullptr, Dialect::vllm, score, answer_vllm_rerank},
      {"POST", "/v1/rerank", nullptr, Dialect::vllm, score, answer_vllm_rerank},
      {"POST", "/v2/rerank", nullptr, Dialect::vllm, score, answer_vllm_rerank},
      {"POST", "/v1/embeddings", nullptr, Dialect::common, score, answer_sglang_embeddings},
      {"POST", "/predict", nullptr, Dialect::tei, score, answer_tei_predict},
      {"POST", "/v1/align", nullptr, Dialect::common, Role::admin, answer_align, nullptr, 202},
      {"POST", "/v1/rollback", nullptr, Dialect::common, Role::admin, answer_rollback},
      {"GET", "/v1/models", nullptr, Dialect::common, score, nullptr,
       [](const RewardService& service, bool) { return list_models(service); }},
      {"GET", "/v1/status", nullptr, Dialect::common, score, nullptr,
       [](const RewardService& service, bool for_admin) { return service.status(for_admin); }},
      {"GET", "/v1/versions", nullptr, Dialect::common, score, nullptr,
       [](const RewardService& service, bool) { return service.versions(); }},
      {"GET", "/v1/samples", nullptr, Dialect::common, Role::admin, nullptr,
       [](const RewardService& service, bool) { return service.samples(); }},
      {"GET", "/", nullptr, Dialect::common, {}},
      {"GET", "/metrics", nullptr, Dialect::common, score},
      {"GET", "/openapi.json", nullptr, Dialect::common, score},
      {"GET", "/health", nullptr, Dialect::common, {}},
      {"GET", "/ready", nullptr, Dialect::common, {}},
  };
  const Route* same_path = nullptr;
  for (const Route& route : kRoutes) {
    if (request.path != route.path) continue;
    if (same_path == nullptr || route.key == nullptr) same_path = &route;
    if (body != nullptr && body->is_object() && route.key != nullptr && body->contains(route.key)) return &route;
  }
  return same_path;
}

namespace {

HttpResponse json_response(int status, const Json& body) {
  return {.status = status, .body = body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

const char* error_type(int status) {
  switch (status) {
    case 401: return "AuthenticationError";
    case 403: return "PermissionDeniedError";
    case 404: return "NotFoundError";
    case 429: return "RateLimitError";
    default: return status >= 500 ? "InternalServerError" : "BadRequestError";
  }
}

const char* tei_error_type(int status) {
  if (status == 429) return "Overloaded";
  return status >= 500 || status == 424 ? "Backend" : "Validation";
}

int fault(Dialect dialect) { return dialect == Dialect::tei ? 424 : 500; }  // of the model

HttpResponse tei_error(int status, const char* type, const std::string& message) {
  return json_response(status, {{"error", message}, {"error_type", type}});
}

HttpResponse error_response(Dialect dialect, int status, const std::string& message) {
  if (dialect == Dialect::tei) return tei_error(status, tei_error_type(status), message);
  const std::size_t colon = message.find(':');  // `field: expected ...`
  const bool names_field = status == 400 || status == 404 || status == 413 || status == 422;
  const Json param = names_field && colon != std::string::npos ? Json(message.substr(0, colon)) : Json(nullptr);
  return json_response(status, {{"error", {{"message", message}, {"type", error_type(status)}, {"param", param}, {"code", status}}}});
}

class Counted {
 public:
  explicit Counted(std::atomic<std::int64_t>& count) : count_(count), number_(++count) {}
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --count_; }
  std::int64_t number() const { return number_; }  // with this one

 private:
  std::atomic<std::int64_t>& count_;
  const std::int64_t number_;
};

HttpResponse with_retry(HttpResponse response, double after_s) {
  if (after_s > 0) response.headers.emplace_back("Retry-After", fmt::format("{}", static_cast<std::int64_t>(std::ceil(after_s))));
  return response;
}

}  // namespace

RewardRoutes::RewardRoutes(RewardService& service, ApiKeys keys, const RouteOptions& options, Log& log)
    : service_(service), keys_(std::move(keys)), options_(options), log_(log), schemas_(load_openapi()) {}

HttpResponse RewardRoutes::refuse(const HttpRequest& request, int status, const std::string& message) {
  const Route* route = find_route(request, nullptr);
  return finish(request, error_response(route == nullptr ? Dialect::common : route->dialect, status, message), {});
}

std::optional<HttpResponse> RewardRoutes::find_refusal_without_keys(const HttpRequest& request, const Route& route) const {
  // A page from elsewhere whose name was made to mean this machine says that name.
  if (!request.host.empty() && !is_loopback(request.host))
    return error_response(route.dialect, 403,
                          "Host: expected localhost or 127.0.0.1, got another name; a server without --api-keys has no other");
  // Browsers let any page post, and say which one it was.
  if (!request.origin.empty() && !is_loopback(request.origin))
    return error_response(route.dialect, 403,
                          "Origin: expected a page of this machine, got one from elsewhere; with --api-keys, pages with a key may ask");
  if (*route.role == Role::score || request.method == "GET") return {};
  return error_response(route.dialect, 403, "expected a server with --api-keys: without, nobody may change what is served");
}

bool RewardRoutes::is_admin(const HttpRequest& request) const {
  return keys_.empty() || keys_.role(given_key(request.authorization)) == Role::admin;
}

std::optional<HttpResponse> RewardRoutes::find_refusal(const HttpRequest& request, const Route& route) const {
  if (request.method != route.method) {
    HttpResponse response =
        error_response(route.dialect, 405, fmt::format("{}: expected {}, got another method", route.path, route.method));
    response.headers.emplace_back("Allow", route.method);
    return response;
  }
  if (!route.role) return {};
  if (keys_.empty()) return find_refusal_without_keys(request, route);
  const std::optional<Role> role = keys_.role(given_key(request.authorization));
  if (!role) {
    HttpResponse response =
        error_response(route.dialect, 401, "Authorization: expected a known key, as `Bearer KEY` or as the password of `Basic`, got none");
    // Not Basic: browsers would ask for a password, keep it, and send it with what pages from elsewhere post.
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return response;
  }
  if (*route.role == Role::admin && *role != Role::admin)
    return error_response(route.dialect, 403, "expected a key of the role admin, got one of the role score");
  return {};
}

std::optional<HttpResponse> RewardRoutes::answer_head(const HttpRequest& request) {
  const Route* route = find_route(request, nullptr);
  if (route == nullptr)
    return finish(request, error_response(Dialect::common, 404, "path: expected one of those in /openapi.json, got another"), {});
  if (std::optional<HttpResponse> refusal = find_refusal(request, *route)) return finish(request, std::move(*refusal), {});
  if (request.method == "GET") return finish(request, answer_get(request, *route), {});
  return {};
}

HttpResponse RewardRoutes::answer_get(const HttpRequest& request, const Route& route) const {
  if (route.document != nullptr) return json_response(200, route.document(service_, is_admin(request)));
  const std::string_view path = route.path;
  if (path == "/")
    return {
        .body = dashboard_page(),
        .content_type = "text/html; charset=utf-8",
        .headers = {
            {"Content-Security-Policy", dashboard_policy()}, {"X-Content-Type-Options", "nosniff"}, {"Referrer-Policy", "no-referrer"}}};
  if (path == "/metrics") return {.body = metrics_.to_text(service_), .content_type = "text/plain; version=0.0.4"};
  if (path == "/openapi.json") return json_response(200, schemas_.document());
  if (path == "/ready" && ending_) return error_response(Dialect::common, 503, "the server is shutting down");
  return json_response(200, {{"status", "ok"}});
}

HttpResponse RewardRoutes::answer_post(const HttpRequest& request, const Route*& route, ScoreReply& reply) {
  Json body;
  try {
    body = parse_json(request.body, "body");
  } catch (const Error& error) {
    return error_response(route->dialect, 400, error.what());
  }
  route = find_route(request, &body);
  const Json& schema = schemas_.document()["paths"][route->path]["post"]["requestBody"]["content"]["application/json"]["schema"];
  schemas_.check(body, schema);
  const auto limit =
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(options_.request_timeout_s));
  ScoreQuery query;
  query.deadline = std::chrono::steady_clock::now() + limit;
  query.abandoned = request.abandoned;
  query.step = parse_step(request.step);
  Scoring scoring(service_, options_.max_rows, std::move(query));
  HttpResponse response = json_response(route->success, route->answer(body, scoring));
  reply = scoring.reply();
  if (!reply.version.empty()) response.headers.emplace_back("Metarm-Version", reply.version);
  return response;
}

HttpResponse RewardRoutes::answer(const HttpRequest& request) {
  ScoreReply reply;
  HttpResponse response = answer_or_refuse(request, reply);
  return finish(request, std::move(response), reply);
}

HttpResponse RewardRoutes::answer_or_refuse(const HttpRequest& request, ScoreReply& reply) {
  const Route* route = find_route(request, nullptr);  // answer_head found one
  // The threads that are left answer what waits for no rewards.
  const Counted counted(answering_);
  if (route->role == Role::score && counted.number() > options_.answers_at_once)
    return with_retry(error_response(route->dialect, 429, "as many requests wait for rewards as --connections allows; try again later"), 1);
  try {
    return answer_post(request, route, reply);
  } catch (const EmptyInput& empty) {
    return tei_error(empty.status(), "Empty", empty.what());
  } catch (const Refusal& refusal) {
    return with_retry(error_response(route->dialect, refusal.status(), refusal.what()), refusal.retry_after_s());
  } catch (const Error& error) {
    const bool input = error.kind() == ErrorKind::input;
    if (!input) log_.warn(fmt::format("{}: {}", request.path, error.what()));
    const int status = input ? (route->dialect == Dialect::vllm ? 400 : 422) : error.kind() == ErrorKind::io ? 503 : fault(route->dialect);
    return error_response(route->dialect, status, error.kind() == ErrorKind::internal ? "internal error" : error.what());
  } catch (const std::bad_alloc&) {
    return error_response(route->dialect, 503, "out of memory");
  } catch (const std::exception& error) {
    log_.warn(fmt::format("{}: internal error: {}", request.path, error.what()));
    return error_response(route->dialect, fault(route->dialect), "internal error");
  }
}

HttpResponse RewardRoutes::finish(const HttpRequest& request, HttpResponse response, const ScoreReply& reply) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - request.begun).count();
  const Route* route = find_route(request, nullptr);
  const std::string path = route == nullptr ? "other" : route->path;
  metrics_.add_request(path, response.status, seconds);
  if (request.method == "GET" && response.status < 400) return response;  // probes would fill the log
  Json line = {{"time", utc_now()},
               {"path", path},
               {"status", response.status},
               {"ms", std::round(seconds * 1e5) / 100},
               {"client", request.client}};
  if (!reply.version.empty()) {
    line["model"] = reply.model;
    line["version"] = reply.version;
    line["rows"] = reply.tokens.size();
    std::int64_t tokens = 0;
    for (const std::int64_t count : reply.tokens) tokens += count;
    line["tokens"] = tokens;
  }
  log_.info(line.dump());
  return response;
}

}  // namespace metarm
