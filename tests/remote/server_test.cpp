#include "metarm/remote/server.h"

#include <gtest/gtest.h>

#include "metarm/base/error.h"

namespace metarm {
namespace {

ServerOptions options(const std::string& url) {
  ServerOptions made;
  made.server = url;
  made.server_model = "policy";
  return made;
}

TEST(Server, AddressesWithAndWithoutAVersion) {
  const std::pair<const char*, const char*> cases[] = {
      {"http://localhost:8000", "http://localhost:8000/v1"},        {"http://localhost:8000/", "http://localhost:8000/v1"},
      {"http://localhost:8000/v1", "http://localhost:8000/v1"},     {"https://api.example.com/v1/", "https://api.example.com/v1"},
      {"https://example.com/api/v3", "https://example.com/api/v3"}, {"https://example.com/vllm", "https://example.com/vllm/v1"},
      {"https://example.com/v", "https://example.com/v/v1"},        {"http://[::1]:80", "http://[::1]:80/v1"}};
  for (const auto& [given, expected] : cases) EXPECT_EQ(make_server(options(given), "").url, expected);
}

TEST(Server, WhatIsWrongIsSaidWithoutSecrets) {
  const auto error = [](const ServerOptions& given, const std::string& key) -> std::string {
    try {
      make_server(given, key);
    } catch (const Error& caught) {
      EXPECT_EQ(caught.kind(), ErrorKind::input);
      return caught.what();
    }
    return "none";
  };
  for (const char* url : {"localhost:8000", "ftp://localhost", "http://", "http://a b", "http://user:hunter2@host",
                          "http://host/?key=hunter2", "http://host/#hunter2", "http://host:99999"}) {
    const std::string message = error(options(url), "");
    EXPECT_TRUE(message.starts_with("--server: expected http://HOST:PORT")) << url << ": " << message;
    EXPECT_EQ(message.find("hunter2"), std::string::npos);
  }
  for (const char* key : {"a b", "a\n", "k\xc3\xa9y"}) {
    const std::string message = error(options("http://host"), key);
    EXPECT_TRUE(message.starts_with("--api-key-env")) << message;
    EXPECT_EQ(message.find(key), std::string::npos);
  }
  ServerOptions no_model = options("http://host");
  no_model.server_model.clear();
  EXPECT_NE(error(no_model, "").find("http://host/v1/models"), std::string::npos);
}

}  // namespace
}  // namespace metarm
