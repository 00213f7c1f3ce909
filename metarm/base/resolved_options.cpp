#include "metarm/base/resolved_options.h"

#include <fmt/format.h>

#include <sstream>

namespace metarm {

const std::set<std::string> kFreeOptions = {"quiet", "json", "threads"};

std::map<std::string, std::string> parse_resolved(const std::string& text) {
  std::map<std::string, std::string> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (const std::size_t equals = line.find(" = "); equals != std::string::npos) values[line.substr(0, equals)] = line.substr(equals + 3);
  return values;
}

std::string find_difference(const std::string& then, const std::string& now) {
  const std::string command = now.substr(0, now.find('\n'));
  if (then.substr(0, then.find('\n')) != command) return command.starts_with("# ") ? command.substr(2) : command;
  const std::map<std::string, std::string> before = parse_resolved(then);
  for (const auto& [key, value] : parse_resolved(now)) {
    const auto found = before.find(key);
    if (found != before.end() && found->second != value && !kFreeOptions.contains(key))
      return fmt::format("{} = {} instead of {}", key, value, found->second);
  }
  return {};
}

}  // namespace metarm
