#include "metarm/remote/server.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

constexpr const char* kWellFormed = "http://HOST:PORT or https://HOST/v1";

bool has_part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  const bool found = curl_url_get(url, part, &text, 0) == CURLUE_OK;
  curl_free(text);
  return found;
}

// The URL may hold a password, so that errors do not quote it before this has passed.
void check_url(const std::string& text) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), curl_url_cleanup);
  if (!text.starts_with("http://") && !text.starts_with("https://")) fail_input("--server: expected {}, got no such scheme", kWellFormed);
  if (!url || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK)
    fail_input("--server: expected {}, got a malformed URL", kWellFormed);
  if (has_part(url.get(), CURLUPART_USER) || has_part(url.get(), CURLUPART_PASSWORD))
    fail_input("--server: expected {}, got one with credentials; give a key by --api-key-env", kWellFormed);
  if (has_part(url.get(), CURLUPART_QUERY) || has_part(url.get(), CURLUPART_FRAGMENT))
    fail_input("--server: expected {}, got one with a query", kWellFormed);
}

std::string versioned(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  const std::string_view last = std::string_view(url).substr(url.rfind('/') + 1);
  const bool has_version =
      last.size() > 1 && last.front() == 'v' && std::ranges::all_of(last.substr(1), [](char c) { return c >= '0' && c <= '9'; });
  return has_version ? url : url + "/v1";
}

}  // namespace

Server make_server(const ServerOptions& options, std::string api_key) {
  check_url(options.server);
  if (options.server_model.empty())
    fail_input("--server-model: expected a model's name, got none; {}/models lists them", versioned(options.server));
  if (std::ranges::any_of(api_key, [](char c) { return c <= ' ' || c > '~'; }))
    fail_input("--api-key-env {}: expected visible characters, got others", options.api_key_env);
  return {options, versioned(options.server), std::move(api_key)};
}

}  // namespace metarm
