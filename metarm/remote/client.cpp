#include "metarm/remote/client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "metarm/base/error.h"

namespace metarm {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxAnswerBytes = 64 << 20;
constexpr double kConnectTimeout_s = 30;
constexpr double kLongestWait_s = 600;  // a server that asks for more is not waited for

Clock::duration seconds(double count) { return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(count)); }

long milliseconds(double count_s) { return static_cast<long>(count_s * 1000); }

template <auto release>
struct Deleter {
  template <class T>
  void operator()(T* handle) const {
    release(handle);
  }
};
using Handle = std::unique_ptr<CURL, Deleter<curl_easy_cleanup>>;

// A request with what its present try needs.
struct Transfer {
  Request request;
  std::string url, body, answer;
  std::array<char, CURL_ERROR_SIZE> error{};
  Handle handle;  // while under way
  bool too_large = false;
  std::int64_t tries = 0, failures = 0;  // failures in a row that count
  // Of all requests, when the try before this one began, and when this one did: in two tries a server that answers anybody shows it,
  // whatever comes first.
  std::int64_t answers_before_last = 0, answers_before = 0;
  Clock::time_point due;  // of the next try
};

std::size_t receive(char* bytes, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.too_large = transfer.answer.size() + size * count > kMaxAnswerBytes;
  if (transfer.too_large) return 0;
  transfer.answer.append(bytes, size * count);
  return size * count;
}

void initialise_curl() {
  static const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (result != CURLE_OK) fail_internal("libcurl: {}", curl_easy_strerror(result));
}

Failure connection_failure(const Transfer& transfer, CURLcode code) {
  Failure failure;
  const std::string reason = transfer.error.front() != 0 ? transfer.error.data() : curl_easy_strerror(code);
  failure.message = transfer.too_large
                        ? fmt::format("{}: expected an answer of at most {} MiB, got more", transfer.url, kMaxAnswerBytes >> 20)
                        : fmt::format("{}: expected an answer, got: {}", transfer.url, reason);
  failure.passing = !transfer.too_large && code != CURLE_PEER_FAILED_VERIFICATION && code != CURLE_SSL_CACERT_BADFILE &&
                    code != CURLE_URL_MALFORMAT && code != CURLE_UNSUPPORTED_PROTOCOL;
  if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST) failure.hint = "is the server running, and --server right?";
  if (code == CURLE_OPERATION_TIMEDOUT) failure.hint = "raise --timeout, or lower --concurrency or --max-new-tokens";
  return failure;
}

class Client {
 public:
  Client(const Server& server, const Exchange& exchange, Log& log) : server_(server), exchange_(exchange), log_(log) {
    initialise_curl();
    multi_.reset(curl_multi_init());
    add_header("Content-Type: application/json");
    add_header("Expect:");  // else libcurl waits a second before it sends a large request
    if (!server.api_key.empty()) add_header("Authorization: Bearer " + server.api_key);
  }
  ~Client() {
    for (const auto& transfer : transfers_)
      if (transfer->handle) curl_multi_remove_handle(multi_.get(), transfer->handle.get());
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void run() {
    for (;;) {
      start_due();
      if (transfers_.empty()) break;
      int running = 0;
      check(curl_multi_perform(multi_.get(), &running));
      const bool progress = collect();
      if (!progress) check(curl_multi_poll(multi_.get(), nullptr, 0, wait_ms(), nullptr));
    }
    if (repeats_ > 1) log_.info(fmt::format("requests were repeated {} times", repeats_));
    if (failure_) throw Error(failure_->first, failure_->second);
  }

 private:
  static void check(CURLMcode code) {
    if (code != CURLM_OK) fail_internal("libcurl: {}", curl_multi_strerror(code));
  }

  void add_header(const std::string& line) { headers_.reset(curl_slist_append(headers_.release(), line.c_str())); }

  template <class Value>
  static void set(Transfer& transfer, CURLoption option, Value value) {
    const CURLcode code = curl_easy_setopt(transfer.handle.get(), option, value);
    if (code != CURLE_OK) fail_internal("libcurl: option {}: {}", static_cast<int>(option), curl_easy_strerror(code));
  }

  void start(Transfer& transfer) {
    transfer.handle.reset(curl_easy_init());
    transfer.answer.clear();
    transfer.error.front() = 0;
    transfer.answers_before_last = transfer.tries++ == 0 ? answers_ : transfer.answers_before;
    transfer.answers_before = answers_;
    set(transfer, CURLOPT_URL, transfer.url.c_str());
    set(transfer, CURLOPT_PROXY, server_.options.proxy.c_str());  // an empty one: none, whatever the environment says
    set(transfer, CURLOPT_NOPROXY, "");
    set(transfer, CURLOPT_USERAGENT, "metarm");
    set(transfer, CURLOPT_HTTPHEADER, headers_.get());
    set(transfer, CURLOPT_POSTFIELDS, transfer.body.c_str());
    set(transfer, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.body.size()));
    set(transfer, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(std::min(kConnectTimeout_s, server_.options.timeout)));
    set(transfer, CURLOPT_TIMEOUT_MS, milliseconds(server_.options.timeout));
    set(transfer, CURLOPT_NOSIGNAL, 1L);
    set(transfer, CURLOPT_ERRORBUFFER, transfer.error.data());
    set(transfer, CURLOPT_WRITEFUNCTION, &receive);
    set(transfer, CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
    set(transfer, CURLOPT_PRIVATE, static_cast<void*>(&transfer));
    check(curl_multi_add_handle(multi_.get(), transfer.handle.get()));
  }

  // Requests that wait for their next try keep their place among those that may be under way: a server in trouble is not asked for more.
  void start_due() {
    const Clock::time_point now = Clock::now();
    if (now < hold_until_) return;
    for (const auto& transfer : transfers_)
      if (!transfer->handle && transfer->due <= now) start(*transfer);
    while (!failure_ && transfers_.size() < static_cast<std::size_t>(server_.options.concurrency)) {
      std::optional<Request> request = exchange_.next();
      if (!request) return;
      auto transfer = std::make_unique<Transfer>();
      transfer->request = std::move(*request);
      transfer->url = server_.url + transfer->request.path;
      transfer->body = transfer->request.body.dump();
      start(*transfers_.emplace_back(std::move(transfer)));
    }
  }

  int wait_ms() const {
    Clock::time_point until = Clock::now() + std::chrono::seconds(1);
    for (const auto& transfer : transfers_)
      if (!transfer->handle) until = std::min(until, std::max(transfer->due, hold_until_));
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    return static_cast<int>(std::max<std::int64_t>(left, 1));
  }

  // Whether a transfer has ended.
  bool collect() {
    bool any = false;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      void* owner = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
      const CURLcode code = message->data.result;  // the message goes with the handle
      finish(*static_cast<Transfer*>(owner), code);
      any = true;
    }
    return any;
  }

  void finish(Transfer& transfer, CURLcode code) {
    const Handle handle = std::move(transfer.handle);
    check(curl_multi_remove_handle(multi_.get(), handle.get()));
    const std::optional<Failure> failure = check_answer(transfer, code, handle.get());
    if (!failure || !try_again(transfer, *failure)) std::erase_if(transfers_, [&](const auto& each) { return each.get() == &transfer; });
  }

  std::optional<Failure> check_answer(Transfer& transfer, CURLcode code, CURL* handle) {
    if (code != CURLE_OK) return connection_failure(transfer, code);
    long status = 0;
    curl_off_t wait_s = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &wait_s);
    if (status != 200) return http_failure(transfer.url, status, hide_key(transfer.answer), static_cast<double>(wait_s));
    try {
      exchange_.take(transfer.request, parse_json(transfer.answer, transfer.url), transfer.url);
      ++answers_;
      return std::nullopt;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::input) throw;
      Failure failure;
      failure.message = error.what();
      return failure;
    }
  }

  // False when the transfer has come to its end.
  bool try_again(Transfer& transfer, const Failure& failure) {
    const bool refusal = failure.status == 500 || (failure.status >= 400 && !failure.passing);
    if (refusal && exchange_.refused && exchange_.refused(transfer.request, failure)) return false;
    const bool others_go_on = failure.busy && answers_ > transfer.answers_before_last;
    transfer.failures = others_go_on ? 1 : transfer.failures + 1;
    const bool hopeless = !failure.passing || failure.wait_s > kLongestWait_s || transfer.failures > server_.options.retries;
    if (hopeless || failure_) {
      if (!failure_) give_up(transfer, failure);
      return false;
    }
    if (repeats_++ == 0) log_.warn(hide_key(fmt::format("{}: {}; trying again", transfer.request.where, failure.message)));
    const Clock::time_point now = Clock::now();
    transfer.due = now + seconds(std::max(back_off_s(transfer.request.id, transfer.failures), failure.wait_s));
    if (failure.wait_s > 0) hold_until_ = std::max(hold_until_, now + seconds(failure.wait_s));
    return true;
  }

  void give_up(const Transfer& transfer, const Failure& failure) {
    std::string message = fmt::format("{}: {}", transfer.request.where, failure.message);
    if (failure.wait_s > kLongestWait_s) message += fmt::format("; it asks to wait {} s", failure.wait_s);
    if (transfer.tries > 1) message += fmt::format("; tried {} times", transfer.tries);
    if (!failure.hint.empty()) message += "; " + failure.hint;
    failure_.emplace(failure.kind, hide_key(std::move(message)));
    std::erase_if(transfers_, [&](const auto& each) { return !each->handle && each.get() != &transfer; });
  }

  std::string hide_key(std::string text) const {  // a server may quote what it was sent
    const std::string& key = server_.api_key;
    if (key.empty()) return text;
    for (std::size_t at = 0; (at = text.find(key, at)) != std::string::npos; at += 3) text.replace(at, key.size(), "***");
    return text;
  }

  const Server& server_;
  const Exchange& exchange_;
  Log& log_;
  std::unique_ptr<CURLM, Deleter<curl_multi_cleanup>> multi_;
  std::unique_ptr<curl_slist, Deleter<curl_slist_free_all>> headers_;
  std::vector<std::unique_ptr<Transfer>> transfers_;  // under way, or waiting for their next try
  Clock::time_point hold_until_;                      // before which nothing is sent
  std::int64_t answers_ = 0, repeats_ = 0;
  std::optional<std::pair<ErrorKind, std::string>> failure_;
};

}  // namespace

void run_exchange(const Server& server, const Exchange& exchange, Log& log) { Client(server, exchange, log).run(); }

}  // namespace metarm
