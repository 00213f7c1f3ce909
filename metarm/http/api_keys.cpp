#include "metarm/http/api_keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <strings.h>

#include <algorithm>

#include "metarm/base/error.h"
#include "metarm/base/file.h"

namespace metarm {

namespace {

constexpr std::size_t kMinKeyLength = 16;
constexpr std::string_view kBlank = " \t\r";

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlank);
  return begin == text.npos ? std::string_view() : text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

Role parse_role(std::string_view word, const std::string& where) {
  if (word == "score") return Role::score;
  if (word == "admin") return Role::admin;
  fail_input("{}: expected `score KEY` or `admin KEY`, got another line", where);  // which may be a key: it is not repeated
}

void check_key(std::string_view key, const std::string& where) {
  if (key.size() < kMinKeyLength) fail_input("{}: expected a key of at least {} characters, got {}", where, kMinKeyLength, key.size());
  if (!std::ranges::all_of(key, [](char c) { return c > ' ' && c <= '~'; }))
    fail_input("{}: expected a key of letters, digits and signs, got other characters", where);
}

}  // namespace

ApiKeys::Digest ApiKeys::digest(std::string_view key) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return digest;
}

ApiKeys ApiKeys::load(const std::string& path) {
  ApiKeys keys;
  for_each_line(path, [&](std::string_view line, std::int64_t number) {
    line = trim(line);
    if (line.empty() || line.front() == '#') return;
    const std::string where = fmt::format("{}:{}", path, number);
    const std::size_t space = std::min(line.find_first_of(kBlank), line.size());
    const Role role = parse_role(line.substr(0, space), where);
    const std::string_view key = trim(line.substr(space));
    check_key(key, where);
    if (keys.role(key)) fail_input("{}: expected each key once, got one again", where);
    keys.keys_.push_back({digest(key), role});
  });
  if (keys.empty()) fail_input("{}: expected lines `score KEY` or `admin KEY`, got none", path);
  return keys;
}

std::optional<Role> ApiKeys::role(std::string_view key) const {
  const Digest given = digest(key);
  std::optional<Role> role;
  for (const Key& known : keys_)
    if (CRYPTO_memcmp(known.digest.data(), given.data(), given.size()) == 0) role = known.role;
  return role;
}

std::string_view bearer_key(std::string_view authorization) {
  constexpr std::string_view kScheme = "Bearer ";
  const bool is_scheme =
      authorization.size() >= kScheme.size() && strncasecmp(authorization.data(), kScheme.data(), kScheme.size()) == 0;  // RFC 9110, 11.1
  return is_scheme ? trim(authorization.substr(kScheme.size())) : std::string_view();
}

}  // namespace metarm
