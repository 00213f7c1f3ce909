// The reward server's paths: who may ask, what a body must look like, which protocol answers it, what is counted and logged.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "metarm/base/log.h"
#include "metarm/http/api_keys.h"
#include "metarm/http/http_server.h"
#include "metarm/http/json_schema.h"
#include "metarm/http/metrics.h"
#include "metarm/http/reward_service.h"
#include "metarm/http/scoring.h"

namespace metarm {

struct RouteOptions {
  std::int64_t max_rows = 1024;                                             // texts of a request
  double request_timeout_s = 600;                                           // from its last byte to its answer
  std::int64_t answers_at_once = std::numeric_limits<std::int64_t>::max();  // to requests with a body; further ones get 429
};

// The document that /openapi.json answers with, and that bodies are checked against.
Json load_openapi();

class RewardRoutes : public HttpHandler {
 public:
  // Each request for rewards, and each refused one, is a line of JSON in the log: path, status, time, model, rows, tokens; never a text.
  RewardRoutes(RewardService& service, ApiKeys keys, const RouteOptions& options, Log& log);

  std::optional<HttpResponse> answer_head(const HttpRequest& request) override;
  HttpResponse answer(const HttpRequest& request) override;
  HttpResponse refuse(const HttpRequest& request, int status, const std::string& message) override;
  // /ready says no from now on, and nobody waits for an alignment.
  void close() {
    ending_ = true;
    service_.close();
  }

 private:
  struct Route;
  static const Route* find_route(const HttpRequest& request, const Json* body);
  std::optional<HttpResponse> find_refusal(const HttpRequest& request, const Route& route) const;
  std::optional<HttpResponse> find_refusal_without_keys(const HttpRequest& request, const Route& route) const;
  bool is_admin(const HttpRequest& request) const;  // or there are no keys
  HttpResponse answer_get(const HttpRequest& request, const Route& route) const;
  HttpResponse answer_post(const HttpRequest& request, const Route*& route, ScoreReply& reply);
  HttpResponse answer_or_refuse(const HttpRequest& request, ScoreReply& reply);
  HttpResponse finish(const HttpRequest& request, HttpResponse response, const ScoreReply& reply);

  RewardService& service_;
  const ApiKeys keys_;
  const RouteOptions options_;
  Log& log_;
  const JsonSchemas schemas_;
  HttpMetrics metrics_;
  std::atomic<bool> ending_ = false;
  std::atomic<std::int64_t> answering_ = 0;  // requests with a body
};

}  // namespace metarm
