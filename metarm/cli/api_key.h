// The key of a server, from the environment.
#pragma once

#include <string>

namespace metarm {

// What the environment variable `name` holds; empty where no name is given. Input error where it is unset or empty.
std::string read_api_key(const std::string& name);

}  // namespace metarm
