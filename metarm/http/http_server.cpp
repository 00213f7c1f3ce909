#include "metarm/http/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <httplib.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "metarm/base/error.h"
#include "metarm/http/connection.h"
#include "metarm/http/connection_threads.h"

namespace metarm {

namespace {

constexpr std::size_t kMaxHeadBytes = 65536;  // request line and headers
constexpr std::size_t kMaxPathBytes = 256;
constexpr auto kHandshakeTime = std::chrono::seconds(10);
constexpr int kBacklog = 1024;  // of the system's queue; httplib asks for 5

Connection::Clock::duration as_duration(double seconds) {
  return std::chrono::duration_cast<Connection::Clock::duration>(std::chrono::duration<double>(seconds));
}

// What this thread is serving.
struct Serving {
  Connection* connection = nullptr;
  Connection::Clock::time_point begun = {};
  bool understood = false;   // as far as the headers
  bool body_unread = false;  // it has one that nobody has read to its end
};
thread_local Serving serving;

// Without the port, and the brackets of an IPv6 address.
std::string host_name(const std::string& host) {
  return host.starts_with('[') ? host.substr(1, host.find(']') - 1) : host.substr(0, host.find(':'));
}

// Of an Origin header; `null` where it names none.
std::string origin_name(const std::string& origin) {
  if (origin.empty()) return "";
  const std::size_t scheme = origin.find("://");
  const std::string name = scheme == std::string::npos ? "" : host_name(origin.substr(scheme + 3));
  return name.empty() ? "null" : name;
}

HttpRequest head_of(const httplib::Request& request) {
  HttpRequest head;
  head.method = request.method == "HEAD" ? "GET" : request.method;
  head.path = request.path;
  head.authorization = request.get_header_value("Authorization");
  head.client = request.remote_addr;
  head.host = host_name(request.get_header_value("Host"));
  head.origin = origin_name(request.get_header_value("Origin"));
  if (request.has_header("X-Metarm-Step")) head.step = request.get_header_value("X-Metarm-Step");
  head.begun = serving.begun;
  head.abandoned = [connection = serving.connection] { return connection->client_gone(); };
  return head;
}

void fill(httplib::Response& to, const HttpResponse& from) {
  to.status = from.status;
  for (const auto& [name, value] : from.headers) to.set_header(name, value);
  to.set_content(from.body, from.content_type);
}

bool has_body(const httplib::Request& request) {
  return request.has_header("Transfer-Encoding") ||
         (request.has_header("Content-Length") && request.get_header_value("Content-Length") != "0");
}

}  // namespace

bool is_loopback(const std::string& host) {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return strcasecmp(host.c_str(), "localhost") == 0;
}

class HttpServer::Listener : public httplib::Server {
 public:
  Listener(const HttpServerOptions& options, HttpHandler& handler) : options_(options), handler_(handler) {
    if (!options.tls_cert.empty()) tls_ = load_tls(options.tls_cert, options.tls_key);
    new_task_queue = [this] { return new ConnectionThreads(static_cast<std::size_t>(options_.connections), waiting_); };
    // Not SO_REUSEPORT, httplib's choice: two servers at one port would share its clients.
    set_socket_options([](socket_t socket) {
      const int on = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    });
    set_pre_routing_handler(
        [this](const httplib::Request& request, httplib::Response& response) { return answer_head(request, response); });
    Post(".*", [this](const httplib::Request& request, httplib::Response& response, const httplib::ContentReader& reader) {
      answer_body(request, response, reader);
    });
    const HandlerWithResponse errors = [this](const httplib::Request& request, httplib::Response& response) {
      if (response.body.empty())
        fill(response, handler_.refuse(head_of(request), response.status, "expected an HTTP/1.1 request, got another"));
      return HandlerResponse::Handled;
    };
    set_error_handler(errors);
    set_keep_alive_timeout(static_cast<time_t>(options.idle_time_s));
    set_keep_alive_max_count(1000000);
    bind();
  }

  int port() const { return port_; }
  std::string url() const {
    const bool v6 = options_.host.find(':') != std::string::npos;
    return fmt::format("http{}://{}{}{}:{}", tls_ ? "s" : "", v6 ? "[" : "", options_.host, v6 ? "]" : "", port_);
  }

  void end() {
    while (!is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // httplib forgets a stop before its start
    stop();
  }

 private:
  void bind() {
    errno = 0;
    port_ = options_.port == 0 ? bind_to_any_port(options_.host) : bind_to_port(options_.host, options_.port) ? options_.port : -1;
    if (port_ <= 0 || ::listen(svr_sock_, kBacklog) != 0)
      fail_io("{}:{}: could not listen: {}", options_.host, options_.port, errno != 0 ? std::strerror(errno) : "no such address");
  }

  bool is_ending() const { return svr_sock_ == INVALID_SOCKET; }

  bool process_and_close_socket(socket_t socket) override {
    try {
      Connection connection(socket, tls_.get());
      serving.connection = &connection;
      if (connection.shake_hands(kHandshakeTime)) serve(connection);
    } catch (const std::exception&) {
      // A connection that could not be set up, for want of memory: closed, and no other is touched.
    }
    serving = {};
    return true;
  }

  void serve(Connection& connection) {
    for (bool first = true;; first = false) {
      const auto patience = as_duration(first ? options_.read_time_s : options_.idle_time_s);
      if (!connection.wait_for_request(patience, [&] { return is_ending() || (!first && waiting_ > 0); })) return;
      connection.begin_request(as_duration(options_.read_time_s), kMaxHeadBytes);
      serving = {&connection, Connection::Clock::now(), false, false};
      const bool last = is_ending() || waiting_ > 0;
      bool closed = false;
      const bool answered = process(connection, last, closed);
      if (!answered || !serving.understood || serving.body_unread) connection.linger();
      if (!answered || last || closed || !serving.understood || serving.body_unread) return;
    }
  }

  // Newer versions of httplib ask for the addresses, too.
  template <class AnyStream>
  bool process(AnyStream& stream, bool last, bool& closed) {
    const std::function<void(httplib::Request&)> prepare = [this](httplib::Request& request) {
      serving.understood = true;
      serving.connection->allow(static_cast<std::size_t>(options_.max_body_bytes) + kMaxHeadBytes);  // with the lengths of chunks
      serving.body_unread = has_body(request);
      request.headers.erase("Range");  // no answer has parts
      request.ranges.clear();
    };
    if constexpr (requires { this->process_request(stream, last, closed, prepare); }) {
      return this->process_request(stream, last, closed, prepare);
    } else {
      std::string remote, local;
      int remote_port = 0, local_port = 0;
      stream.get_remote_ip_and_port(remote, remote_port);
      stream.get_local_ip_and_port(local, local_port);
      return this->process_request(stream, remote, remote_port, local, local_port, last, closed, prepare);
    }
  }

  // What is wrong with a request's headers, if anything: status and message.
  std::optional<std::pair<int, std::string>> find_fault(const httplib::Request& request) const {
    const std::size_t lengths = request.get_header_value_count("Content-Length");
    const bool chunked = request.has_header("Transfer-Encoding");
    if (request.path.size() > kMaxPathBytes) return std::pair(414, fmt::format("path: expected at most {} bytes, got more", kMaxPathBytes));
    if (lengths > 1 || (chunked && lengths > 0))
      return std::pair(400, std::string("Content-Length: expected it once, and not beside Transfer-Encoding"));
    if (chunked && request.get_header_value("Transfer-Encoding") != "chunked")
      return std::pair(501, std::string("Transfer-Encoding: expected chunked, got another"));
    const std::string length = request.get_header_value("Content-Length");
    if (!std::ranges::all_of(length, [](char c) { return c >= '0' && c <= '9'; }))
      return std::pair(400, std::string("Content-Length: expected a number"));
    if (length.size() > 18 || (!length.empty() && std::stoll(length) > options_.max_body_bytes)) return std::pair(413, too_large());
    if (request.method == "POST" && lengths == 0 && !chunked)
      return std::pair(411, std::string("Content-Length: expected a number, got no such header"));
    if (request.is_multipart_form_data()) return std::pair(415, std::string("Content-Type: expected application/json, got a form"));
    return {};
  }

  std::string too_large() const { return fmt::format("body: expected at most {} bytes, got more", options_.max_body_bytes); }

  HandlerResponse answer_head(const httplib::Request& request, httplib::Response& response) {
    const HttpRequest head = head_of(request);
    if (const auto fault = find_fault(request)) {
      fill(response, handler_.refuse(head, fault->first, fault->second));
    } else if (const auto answer = handler_.answer_head(head)) {
      fill(response, *answer);
    } else {
      return HandlerResponse::Unhandled;
    }
    if (serving.body_unread) response.set_header("Connection", "close");
    return HandlerResponse::Handled;
  }

  void answer_body(const httplib::Request& request, httplib::Response& response, const httplib::ContentReader& reader) {
    HttpRequest whole = head_of(request);
    bool large = false;
    const bool complete = reader([&](const char* data, size_t size) {
      large = whole.body.size() + size > static_cast<std::size_t>(options_.max_body_bytes);  // unpacked, where it came packed
      if (!large) whole.body.append(data, size);
      return !large;
    });
    serving.body_unread = !complete;
    if (complete)
      fill(response, handler_.answer(whole));
    else if (large)
      fill(response, handler_.refuse(whole, 413, too_large()));
    else if (serving.connection->timed_out())
      fill(response, handler_.refuse(whole, 408, fmt::format("body: expected it within {} s, got a part of it", options_.read_time_s)));
    else
      fill(response, handler_.refuse(whole, 400, "body: expected as many bytes as announced, got another form"));
    if (serving.body_unread) response.set_header("Connection", "close");
  }

  const HttpServerOptions options_;
  HttpHandler& handler_;
  TlsContext tls_;
  int port_ = -1;
  std::atomic<std::size_t> waiting_ = 0;
};

HttpServer::HttpServer(const HttpServerOptions& options, HttpHandler& handler) : listener_(std::make_unique<Listener>(options, handler)) {}
HttpServer::~HttpServer() = default;
int HttpServer::port() const { return listener_->port(); }
std::string HttpServer::url() const { return listener_->url(); }
void HttpServer::run() {
  if (!listener_->listen_after_bind()) fail_io("{}: expected to go on accepting connections, got a failure", url());
}
void HttpServer::stop() { listener_->end(); }

}  // namespace metarm
