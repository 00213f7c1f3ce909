#include "metarm/cli/api_key.h"

#include <cstdlib>

#include "metarm/base/error.h"

namespace metarm {

std::string read_api_key(const std::string& name) {
  if (name.empty()) return {};
  const char* key = std::getenv(name.c_str());
  if (key == nullptr || *key == 0) fail_input("--api-key-env: expected a variable that holds a key, got {}, which is unset or empty", name);
  return key;
}

}  // namespace metarm
