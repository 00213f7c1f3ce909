#include "metarm/text/byte_level.h"

#include <array>

#include "metarm/text/unicode.h"

namespace metarm {

namespace {

// Printable Latin-1 bytes stand for themselves, the others for code points from 256 on, in order.
struct ByteMap {
  std::array<char32_t, 256> to{};
  std::array<int, 512> from{};
  ByteMap() {
    from.fill(-1);
    char32_t next = 256;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      to[byte] = printable ? byte : next++;
      from[to[byte]] = static_cast<int>(byte);
    }
  }
};
const ByteMap kMap;

}  // namespace

std::string to_byte_level(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(out, kMap.to[static_cast<unsigned char>(byte)]);
  return out;
}

std::optional<std::string> from_byte_level(std::string_view token) {
  std::string bytes;
  for (std::size_t position = 0; position < token.size();) {
    const char32_t c = next_code_point(token, position);
    if (c >= kMap.from.size() || kMap.from[c] < 0) return std::nullopt;
    bytes += static_cast<char>(kMap.from[c]);
  }
  return bytes;
}

}  // namespace metarm
