// Who may ask for what: keys from a file, as SHA-256 digests in memory.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace metarm {

enum class Role { score, admin };  // an admin may score, too

class ApiKeys {
 public:
  ApiKeys() = default;  // none: who reaches the server may score

  // A file with a line `score KEY` or `admin KEY` each; empty lines and those that begin with # do not count. Input errors name the line:
  // another role, a key of fewer than 16 characters or with others than visible ASCII, a key twice; and a file without keys.
  static ApiKeys load(const std::string& path);

  bool empty() const { return keys_.empty(); }
  // The role of a key. Takes as long whichever key is given, right or wrong.
  std::optional<Role> role(std::string_view key) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Key {
    Digest digest;
    Role role;
  };
  static Digest digest(std::string_view key);

  std::vector<Key> keys_;
};

// The key in an `Authorization` header: `Bearer KEY`, or the password of `Basic`, whose user may have any name; empty where it has another
// form.
std::string given_key(std::string_view authorization);

}  // namespace metarm
