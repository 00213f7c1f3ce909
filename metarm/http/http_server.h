// HTTP/1.1 over TCP, with or without TLS: accepts, reads requests within limits, hands them to a handler, writes its answers. A thread a
// connection, since a request waits for its rewards. Knows nothing of rewards.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace metarm {

struct HttpRequest {
  std::string method, path;         // a HEAD comes as the GET that it stands for
  std::string authorization;        // the header; empty where there is none
  std::string client;               // its address
  std::string host;                 // the header that names this server, without port and brackets
  std::string origin = {};          // the name in the header Origin of a web page's request, likewise; empty where there is none
  std::optional<std::string> step;  // the header X-Metarm-Step
  std::string body;
  std::function<bool()> abandoned;                                                 // whether the client has gone
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();  // its first byte
};

// Whether a name or an address means this machine alone.
bool is_loopback(const std::string& host);

struct HttpResponse {
  int status = 200;
  std::string body = {};
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
};

// Called by many threads at once. Throws nothing.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Before a body is read; nullopt: to be read, and answered by `answer`. A GET has none, and is answered here.
  virtual std::optional<HttpResponse> answer_head(const HttpRequest& request) = 0;
  virtual HttpResponse answer(const HttpRequest& request) = 0;
  // The answer to what is wrong already as HTTP; `request` may be empty.
  virtual HttpResponse refuse(const HttpRequest& request, int status, const std::string& message) = 0;
};

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int port = 0;                             // 0: any that is free
  std::string tls_cert = {}, tls_key = {};  // empty: no TLS
  std::int64_t connections = 256;           // at once; others wait until one ends
  std::int64_t max_body_bytes = 64 << 20;
  double read_time_s = 30;  // for all of a request
  double idle_time_s = 60;  // between requests of a connection, where no other waits for its thread
};

class HttpServer {
 public:
  // Listens at once. io error where the address cannot be had; input errors of TLS files.
  HttpServer(const HttpServerOptions& options, HttpHandler& handler);
  ~HttpServer();

  int port() const;
  std::string url() const;
  void run();   // answers until stop(), then until all requests that have begun are answered; io error where it cannot go on
  void stop();  // from another thread, after which run() returns

 private:
  class Listener;
  std::unique_ptr<Listener> listener_;
};

}  // namespace metarm
