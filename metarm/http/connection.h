// A client's socket, plain or under TLS, as cpp-httplib reads it: with one deadline and one bound on bytes for the whole of a request,
// where httplib's own streams have one for each read, which a client that sends a byte at a time never reaches.
#pragma once

#include <httplib.h>
#include <openssl/ssl.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace metarm {

struct TlsDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* session) const { SSL_free(session); }
};
using TlsContext = std::unique_ptr<SSL_CTX, TlsDeleter>;
// TLS 1.2 or later. Input error where the files are no certificate (chain) and key that belong together.
TlsContext load_tls(const std::string& certificate_file, const std::string& key_file);

class Connection : public httplib::Stream {
 public:
  using Clock = std::chrono::steady_clock;

  Connection(int socket, SSL_CTX* tls);  // owns the socket; null: plain
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool shake_hands(Clock::duration within);  // true where there is no TLS
  // Whether a request begins within that time; false also once `stop`, asked every 50 ms, says so, or the client has gone.
  bool wait_for_request(Clock::duration within, const std::function<bool()>& stop);
  // From here on reads fail once the request takes longer or has more bytes.
  void begin_request(Clock::duration within, std::size_t max_bytes);
  void allow(std::size_t bytes) { left_ = bytes; }  // what may follow its headers
  bool timed_out() const { return timed_out_; }
  // Whether the client has closed its side.
  bool client_gone() const;
  // Closes our side, then reads a little of what the client still sends: closing at once would take the answer from it.
  void linger();

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* to, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  using httplib::Stream::write;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  // httplib asks only whether select() can take it: this stream polls, and any socket will do.
  int socket() const override { return 0; }

 private:
  ssize_t receive(char* to, size_t size, short& events);  // -1 with `events` to wait for, or with none: broken
  ssize_t send_some(const char* from, size_t size, short& events);
  bool wait(short events, Clock::time_point until) const;
  bool fill();

  int socket_;
  std::unique_ptr<SSL, TlsDeleter> tls_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // unread bytes of the buffer
  std::size_t left_ = 0;             // bytes that the request may still have
  Clock::time_point deadline_ = Clock::time_point::max();
  bool timed_out_ = false;
};

}  // namespace metarm
