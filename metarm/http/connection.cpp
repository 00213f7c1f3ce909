#include "metarm/http/connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "metarm/base/error.h"

namespace metarm {

namespace {

constexpr std::size_t kBufferBytes = 16384;
constexpr auto kAskWhetherToStop = std::chrono::milliseconds(50);
constexpr auto kWriteTime = std::chrono::seconds(30);
constexpr auto kLingerTime = std::chrono::milliseconds(500);
constexpr std::size_t kLingerBytes = 1 << 20;

bool poll_once(int socket, short events, Connection::Clock::duration within) {
  pollfd entry{socket, events, 0};
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(within).count();
  return ::poll(&entry, 1, static_cast<int>(std::clamp<std::int64_t>(ms, 0, 1 << 30))) > 0;
}

std::string last_tls_error() {
  const char* reason = ERR_reason_error_string(ERR_get_error());
  ERR_clear_error();
  return reason == nullptr ? "another file" : reason;
}

void name_of(const sockaddr_storage& address, std::string& ip, int& port) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    port = ntohs(v6.sin6_port);
  }
  ip = text;
}

}  // namespace

TlsContext load_tls(const std::string& certificate_file, const std::string& key_file) {
  TlsContext context(SSL_CTX_new(TLS_server_method()));
  if (!context) fail_internal("SSL_CTX_new: {}", last_tls_error());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate_file.c_str()) != 1)
    fail_input("--tls-cert: expected a PEM file of certificates, got {}: {}", certificate_file, last_tls_error());
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    fail_input("--tls-key: expected the PEM file of the certificate's key, got {}: {}", key_file, last_tls_error());
  if (SSL_CTX_check_private_key(context.get()) != 1)
    fail_input("--tls-key: expected the certificate's key, got {}: {}", key_file, last_tls_error());
  return context;
}

Connection::Connection(int socket, SSL_CTX* tls) : socket_(socket), buffer_(kBufferBytes) {
  ::fcntl(socket_, F_SETFL, ::fcntl(socket_, F_GETFL, 0) | O_NONBLOCK);
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (tls == nullptr) return;
  tls_.reset(SSL_new(tls));
  if (tls_ && SSL_set_fd(tls_.get(), socket_) == 1) return;
  ::close(socket_);
  fail_internal("SSL_new: {}", last_tls_error());
}

Connection::~Connection() {
  if (tls_) SSL_shutdown(tls_.get());
  ERR_clear_error();
  ::shutdown(socket_, SHUT_RDWR);
  ::close(socket_);
}

bool Connection::wait(short events, Clock::time_point until) const {
  const auto left = until == Clock::time_point::max() ? Clock::duration(std::chrono::hours(1)) : until - Clock::now();
  return left > Clock::duration::zero() && poll_once(socket_, events, left);
}

bool Connection::shake_hands(Clock::duration within) {
  if (!tls_) return true;
  const Clock::time_point until = Clock::now() + within;
  for (;;) {
    const int result = SSL_accept(tls_.get());
    if (result == 1) return true;
    const int reason = SSL_get_error(tls_.get(), result);
    ERR_clear_error();
    if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) return false;
    if (!wait(reason == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until)) return false;
  }
}

bool Connection::wait_for_request(Clock::duration within, const std::function<bool()>& stop) {
  const Clock::time_point until = Clock::now() + within;
  for (;;) {
    if (is_readable()) return true;
    if (stop() || Clock::now() >= until) return false;
    poll_once(socket_, POLLIN, kAskWhetherToStop);
  }
}

void Connection::begin_request(Clock::duration within, std::size_t max_bytes) {
  deadline_ = Clock::now() + within;
  left_ = max_bytes;
  timed_out_ = false;
}

bool Connection::client_gone() const { return poll_once(socket_, POLLRDHUP, Clock::duration::zero()); }

void Connection::linger() {
  ::shutdown(socket_, SHUT_WR);
  const Clock::time_point until = Clock::now() + kLingerTime;
  for (std::size_t got = 0; got < kLingerBytes && wait(POLLIN, until);) {
    const ssize_t count = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
    if (count <= 0) return;
    got += static_cast<std::size_t>(count);
  }
}

bool Connection::is_readable() const {
  return begin_ < end_ || (tls_ && SSL_pending(tls_.get()) > 0) || poll_once(socket_, POLLIN, Clock::duration::zero());
}

bool Connection::is_writable() const { return poll_once(socket_, POLLOUT, Clock::duration::zero()); }

ssize_t Connection::receive(char* to, size_t size, short& events) {
  events = 0;
  if (tls_) {
    const int count = SSL_read(tls_.get(), to, static_cast<int>(size));
    if (count > 0) return count;
    const int reason = SSL_get_error(tls_.get(), count);
    ERR_clear_error();
    events = reason == SSL_ERROR_WANT_READ ? POLLIN : reason == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
    return reason == SSL_ERROR_ZERO_RETURN ? 0 : -1;
  }
  const ssize_t count = ::recv(socket_, to, size, 0);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) events = POLLIN;
  return count;
}

ssize_t Connection::send_some(const char* from, size_t size, short& events) {
  events = 0;
  if (tls_) {
    const int count = SSL_write(tls_.get(), from, static_cast<int>(std::min<size_t>(size, 1 << 30)));
    if (count > 0) return count;
    const int reason = SSL_get_error(tls_.get(), count);
    ERR_clear_error();
    events = reason == SSL_ERROR_WANT_READ ? POLLIN : reason == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
    return -1;
  }
  const ssize_t count = ::send(socket_, from, size, MSG_NOSIGNAL);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) events = POLLOUT;
  return count;
}

bool Connection::fill() {
  for (;;) {
    short events = 0;
    const ssize_t count = receive(buffer_.data(), buffer_.size(), events);
    if (count > 0) {
      begin_ = 0;
      end_ = static_cast<std::size_t>(count);
      return true;
    }
    if (events == 0) return false;
    if (!wait(events, deadline_)) {
      timed_out_ = true;
      return false;
    }
  }
}

ssize_t Connection::read(char* to, size_t size) {
  if (left_ == 0 || timed_out_) return -1;
  if (Clock::now() >= deadline_) {
    timed_out_ = true;
    return -1;
  }
  if (begin_ == end_ && !fill()) return -1;
  const std::size_t count = std::min({size, end_ - begin_, left_});
  std::memcpy(to, buffer_.data() + begin_, count);
  begin_ += count;
  left_ -= count;
  return static_cast<ssize_t>(count);
}

ssize_t Connection::write(const char* from, size_t size) {
  const Clock::time_point until = Clock::now() + kWriteTime;
  for (size_t sent = 0; sent < size;) {
    short events = 0;
    const ssize_t count = send_some(from + sent, size - sent, events);
    if (count > 0)
      sent += static_cast<size_t>(count);
    else if (events == 0 || !wait(events, until))
      return -1;
  }
  return static_cast<ssize_t>(size);
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0) name_of(address, ip, port);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0) name_of(address, ip, port);
}

}  // namespace metarm
