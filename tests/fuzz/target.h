// A fuzz target: one parser, called with bytes that nobody promised anything about. A metarm::Error of kind input is the right answer to
// bad bytes; any other exception, a sanitizer's report or a hang is a find. libFuzzer and the replay call the same entry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "metarm/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace metarm {

// Runs `parse`; input errors are expected, and must be one line.
template <class Parse>
void expect_input_errors_only(Parse&& parse) {
  try {
    parse();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::input) throw;
    if (std::string_view(error.what()).empty()) throw;
  }
}

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) { return {reinterpret_cast<const char*>(data), size}; }

}  // namespace metarm
