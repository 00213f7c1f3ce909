#include "metarm/http/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/stopwatch.h"

namespace metarm {
namespace {

using std::chrono_literals::operator""ms;

// Answers with the body; /hold waits until it is let go or its client has gone.
class EchoHandler : public HttpHandler {
 public:
  std::optional<HttpResponse> answer_head(const HttpRequest& request) override {
    if (request.method == "GET") return HttpResponse{.body = fmt::format("got {}", request.path)};
    if (request.path == "/none") return HttpResponse{.status = 404, .body = "none"};
    return {};
  }
  HttpResponse answer(const HttpRequest& request) override {
    {
      const std::lock_guard lock(mutex_);
      last_origin = request.origin;
      last_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - request.begun).count();
    }
    ++begun;
    while (request.path == "/hold" && !let_go && !gone) {
      gone = request.abandoned();
      std::this_thread::sleep_for(5ms);
    }
    return {.body = fmt::format("<{}>", request.body)};
  }
  HttpResponse refuse(const HttpRequest&, int status, const std::string& message) override { return {.status = status, .body = message}; }

  std::atomic<int> begun = 0;
  std::atomic<bool> let_go = false, gone = false;
  std::string last_origin;
  double last_seconds = 0;

 private:
  std::mutex mutex_;
};

// A client that writes what it likes.
class Client {
 public:
  explicit Client(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { ::close(socket_); }

  bool send(const std::string& text) {
    return ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  // What comes until `end` is in it, the server closes, or nothing comes for five seconds.
  std::string receive(const std::string& end = "\r\n\r\n") {
    std::string text;
    char buffer[4096];
    while (text.find(end) == std::string::npos) {
      pollfd entry{socket_, POLLIN, 0};
      const ssize_t count = ::poll(&entry, 1, 5000) > 0 ? ::recv(socket_, buffer, sizeof buffer, 0) : 0;
      if (count <= 0) break;
      text.append(buffer, static_cast<std::size_t>(count));
    }
    return text;
  }
  bool is_closed() { return receive("never").empty(); }
  void hang_up() { ::shutdown(socket_, SHUT_RDWR); }

 private:
  int socket_;
};

std::string post(const std::string& path, const std::string& body, const std::string& more = "") {
  return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\n{}Content-Length: {}\r\n\r\n{}", path, more, body.size(), body);
}

class HttpServerTest : public testing::Test {
 protected:
  void start() {
    server_ = std::make_unique<HttpServer>(options_, handler_);
    thread_ = std::thread([this] { server_->run(); });
  }
  void stop() {
    if (!thread_.joinable()) return;
    server_->stop();
    thread_.join();
  }
  void TearDown() override {
    handler_.let_go = true;
    stop();
  }
  std::string exchange(const std::string& request, const std::string& end) {
    Client client(server_->port());
    client.send(request);
    return client.receive(end);
  }

  HttpServerOptions options_{.connections = 4, .max_body_bytes = 100, .read_time_s = 0.4, .idle_time_s = 0.6};
  EchoHandler handler_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

TEST_F(HttpServerTest, AConnectionServesOneRequestAfterAnother) {
  start();
  Client client(server_->port());
  client.send(post("/a", "one") + post("/a", "two"));  // pipelined
  EXPECT_NE(client.receive("<two>").find("<one>"), std::string::npos);
  client.send("GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(client.receive("got /b").find("200 OK"), std::string::npos);
  client.send("POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_NE(client.receive("<abcde>").find("<abcde>"), std::string::npos);
}

TEST_F(HttpServerTest, BodiesThatAreTooLargeAreNotRead) {
  start();
  EXPECT_NE(exchange(post("/a", std::string(100, 'x')), ">").find("200 OK"), std::string::npos);
  EXPECT_NE(exchange(post("/a", std::string(101, 'x')), "got more").find(" 413 "), std::string::npos);
  EXPECT_NE(exchange("POST /a HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "got more").find(" 413 "), std::string::npos);
  EXPECT_NE(exchange(fmt::format("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n{:x<101}\r\n0\r\n\r\n", ""), "got more")
                .find(" 413 "),
            std::string::npos);
  EXPECT_EQ(handler_.begun.load(), 1);
}

TEST_F(HttpServerTest, APackedBodyCountsUnpacked) {
  start();
  const std::string text(5000, 'x');
  std::string packed(1000, 0);
  z_stream stream{};
  ASSERT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  ASSERT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  ASSERT_LT(packed.size(), 100);
  EXPECT_NE(exchange(post("/a", packed, "Content-Encoding: gzip\r\n"), "got more").find(" 413 "), std::string::npos);
}

TEST_F(HttpServerTest, WhatIsNoRequestIsRefused) {
  start();
  const auto status = [&](const std::string& request) { return exchange(request, "\r\n\r\n").substr(0, 12); };
  EXPECT_EQ(status("nonsense\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(status("POST /a HTTP/1.1\r\n\r\n"), "HTTP/1.1 411");
  EXPECT_EQ(status("POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "HTTP/1.1 400");
  EXPECT_EQ(status("POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(status("POST /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(status(post("/a", "--x--", "Content-Type: multipart/form-data; boundary=x\r\n")), "HTTP/1.1 415");
  EXPECT_EQ(status(fmt::format("GET /{:a<300} HTTP/1.1\r\n\r\n", "")), "HTTP/1.1 414");
  EXPECT_EQ(status("GET /a HTTP/1.1\r\nRange: bytes=900-\r\n\r\n"), "HTTP/1.1 200");
  EXPECT_EQ(status(post("/none", "x")), "HTTP/1.1 404");
  EXPECT_EQ(handler_.begun.load(), 0);
}

TEST_F(HttpServerTest, ABodyThatNobodyReadIsNotTakenForARequest) {
  start();
  const std::string answers = exchange(post("/none", "GET /b HTTP/1.1\r\nHost: x\r\n\r\n"), "got /b");
  EXPECT_NE(answers.find("404"), std::string::npos);
  EXPECT_NE(answers.find("Connection: close"), std::string::npos);
  EXPECT_EQ(answers.find("got /b"), std::string::npos);
}

TEST_F(HttpServerTest, EndlessHeadersAreCutOff) {
  start();
  Client client(server_->port());
  client.send("GET /a HTTP/1.1\r\n");
  bool sent = true;
  for (int i = 0; i < 2000 && sent; ++i) sent = client.send(fmt::format("X-{}: {:x<1000}\r\n", i, ""));
  client.send("\r\n");
  EXPECT_EQ(client.receive().find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, ASlowClientIsShedWhateverItSendsMeanwhile) {
  start();
  for (const std::string& begin : {std::string("POST /a HTTP/1.1\r\nX: "), std::string("POST /a HTTP/1.1\r\nContent-Length: 90\r\n\r\n")}) {
    Client client(server_->port());
    const Stopwatch stopwatch;
    client.send(begin);
    while (stopwatch.seconds() < 3 && client.send("x")) std::this_thread::sleep_for(20ms);  // each in time for a timeout of single reads
    EXPECT_LT(stopwatch.seconds(), 2) << begin;
  }
  EXPECT_EQ(handler_.begun.load(), 0);
}

TEST_F(HttpServerTest, SilentConnectionsAreClosed) {
  start();
  Client silent(server_->port()), idle(server_->port());
  idle.send(post("/a", "x"));
  idle.receive("<x>");
  EXPECT_TRUE(silent.is_closed());
  EXPECT_TRUE(idle.is_closed());
}

TEST_F(HttpServerTest, IdleConnectionsMakeRoomForOthers) {
  options_.idle_time_s = 60;
  options_.connections = 1;
  start();
  Client idle(server_->port());
  idle.send(post("/a", "x"));
  idle.receive("<x>");
  EXPECT_NE(exchange(post("/a", "y"), "<y>").find("<y>"), std::string::npos);
}

TEST_F(HttpServerTest, TheHandlerSeesThatItsClientHasGone) {
  start();
  Client client(server_->port());
  client.send(post("/hold", "x"));
  while (handler_.begun == 0) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(handler_.gone);
  client.hang_up();
  for (int i = 0; i < 1000 && !handler_.gone; ++i) std::this_thread::sleep_for(2ms);
  EXPECT_TRUE(handler_.gone);
}

TEST_F(HttpServerTest, StoppingAnswersWhatHasBegun) {
  start();
  Client client(server_->port()), idle(server_->port());
  client.send(post("/hold", "x"));
  while (handler_.begun == 0) std::this_thread::sleep_for(1ms);
  std::thread stopping([this] { stop(); });
  EXPECT_TRUE(idle.is_closed());
  handler_.let_go = true;
  EXPECT_NE(client.receive("<x>").find("<x>"), std::string::npos);
  stopping.join();
}

TEST_F(HttpServerTest, AnAddressInUseIsAnError) {
  start();
  options_.port = server_->port();
  try {
    HttpServer second(options_, handler_);
    FAIL() << "two servers at one port";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
  }
}

TEST_F(HttpServerTest, PagesAndBeginningsOfRequestsAreTold) {
  start();
  const auto origin = [&](const std::string& header) {
    exchange(post("/a", "x", header), "<x>");
    return handler_.last_origin;
  };
  EXPECT_EQ(origin(""), "");
  EXPECT_EQ(origin("Origin: http://evil.example:80\r\n"), "evil.example");
  EXPECT_EQ(origin("Origin: https://[::1]:8000\r\n"), "::1");
  EXPECT_EQ(origin("Origin: null\r\n"), "null");
  EXPECT_EQ(origin("Origin: file://\r\n"), "null");
  Client slow(server_->port());
  const std::string request = post("/a", "x");
  slow.send(request.substr(0, request.size() - 1));
  std::this_thread::sleep_for(150ms);
  slow.send("x");
  slow.receive("<x>");
  EXPECT_GE(handler_.last_seconds, 0.14) << "the upload counts";
}

TEST_F(HttpServerTest, AsManyConnectionsAreServedAtOnceAsThereMayBe) {
  start();  // four
  std::vector<std::unique_ptr<Client>> held;
  for (int i = 0; i < 4; ++i) {
    held.push_back(std::make_unique<Client>(server_->port()));
    held.back()->send(post("/hold", "x"));
  }
  for (int i = 0; i < 2000 && handler_.begun < 4; ++i) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(handler_.begun.load(), 4);
  Client fifth(server_->port());
  fifth.send(post("/a", "y"));
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(handler_.begun.load(), 4);
  handler_.let_go = true;
  EXPECT_NE(fifth.receive("<y>").find("<y>"), std::string::npos);
}

TEST(IsLoopback, NamesAndAddressesOfThisMachineAlone) {
  for (const char* name : {"localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "0:0:0:0:0:0:0:1"})
    EXPECT_TRUE(is_loopback(name)) << name;
  for (const char* name :
       {"127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "128.0.0.1", "0.0.0.0", "::", "null", ""})
    EXPECT_FALSE(is_loopback(name)) << name;
}

TEST(HttpServerTls, FilesThatAreNoneAreAnInputError) {
  EchoHandler handler;
  try {
    HttpServer server({.tls_cert = "/nonexistent", .tls_key = "/nonexistent"}, handler);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("--tls-cert"), std::string::npos);
  }
}

}  // namespace
}  // namespace metarm
