#include "metarm/http/api_keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <strings.h>

#include <algorithm>
#include <cstdint>

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

// What follows the name of a scheme, which has no case (RFC 9110, 11.1); empty where it is another's.
std::string_view credentials(std::string_view authorization, std::string_view scheme) {
  const bool is_scheme = authorization.size() >= scheme.size() && strncasecmp(authorization.data(), scheme.data(), scheme.size()) == 0;
  return is_scheme ? trim(authorization.substr(scheme.size())) : std::string_view();
}

// The bytes of a text in base64 (RFC 4648, 4); none where it is not padded, has other characters, or bits that no byte has.
std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return {};
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string bytes;
  std::uint32_t bits = 0;  // the lowest `count`: of the next byte
  int count = 0;
  for (const char c : text.substr(0, text.size() - padding)) {
    const std::size_t digit = kDigits.find(c);
    if (digit == kDigits.npos) return {};
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count);
    bits &= (1U << count) - 1;
  }
  return bits == 0 ? std::optional(bytes) : std::nullopt;
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

std::string given_key(std::string_view authorization) {
  if (const std::string_view key = credentials(authorization, "Bearer "); !key.empty()) return std::string(key);
  const std::string pair = decode_base64(credentials(authorization, "Basic ")).value_or("");
  const std::size_t colon = pair.find(':');  // a user's name has none (RFC 7617, 2)
  return colon == pair.npos ? "" : pair.substr(colon + 1);
}

}  // namespace metarm
