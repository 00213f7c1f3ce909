// The options of a command as text, so that a later call can be told what has changed: "# metarm NAME", then "key = value" a line, as
// to_toml writes them (options.h).
#pragma once

#include <map>
#include <set>
#include <string>

namespace metarm {

// Keys and values.
std::map<std::string, std::string> parse_resolved(const std::string& text);

// Of options that change no result.
extern const std::set<std::string> kFreeOptions;

// In what a command that is told `now` is another than one that was told `then`: "key = value instead of another", or "metarm NAME"; empty:
// in nothing that changes a result. An option that one of them lacks is one that another metarm does not know.
std::string find_difference(const std::string& then, const std::string& now);

}  // namespace metarm
