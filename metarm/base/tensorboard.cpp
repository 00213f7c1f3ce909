#include "metarm/base/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "metarm/base/error.h"
#include "metarm/base/file.h"

namespace metarm {
namespace {

constexpr std::size_t kHeadBytes = 12, kTailBytes = 4, kBufferBytes = 1 << 16;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    table[i] = i;
    for (int bit = 0; bit < 8; ++bit) table[i] = (table[i] >> 1) ^ (table[i] & 1 ? 0x82f63b78 : 0);
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

std::uint32_t masked_crc32c(std::string_view data) {
  std::uint32_t crc = ~0u;
  for (unsigned char byte : data) crc = kCrcTable[(crc ^ byte) & 0xff] ^ (crc >> 8);
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
}

template <class T>
void append_fixed(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
T read_fixed(const std::string& text, std::size_t at) {
  T value;
  std::memcpy(&value, text.data() + at, sizeof value);
  return value;
}

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

enum WireType : unsigned { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_key(std::string& out, unsigned field, WireType type) { append_varint(out, field << 3 | type); }

void append_bytes(std::string& out, unsigned field, std::string_view bytes) {
  append_key(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

std::string start_event(double wall_time_s) {
  std::string event;
  append_key(event, 1, kFixed64);
  append_fixed(event, wall_time_s);
  return event;
}

std::size_t whole_records_bytes(const std::string& text) {
  std::size_t end = 0;
  while (text.size() - end >= kHeadBytes + kTailBytes) {
    const auto length = read_fixed<std::uint64_t>(text, end);
    const bool sound = read_fixed<std::uint32_t>(text, end + 8) == masked_crc32c(std::string_view(text).substr(end, 8));
    if (!sound || length > text.size() - end - kHeadBytes - kTailBytes) break;
    end += kHeadBytes + length + kTailBytes;
  }
  return end;
}

}  // namespace

EventFile::EventFile(const std::string& path) : path_(path) {
  descriptor_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_io("{}: expected to write, got: {}", path, std::strerror(errno));
  const std::size_t kept = whole_records_bytes(read_file(path));
  if (ftruncate(descriptor_, static_cast<off_t>(kept)) != 0) {
    const int error = errno;
    close(descriptor_);
    fail_io("{}: expected to write, got: {}", path, std::strerror(error));
  }
  if (kept > 0) return;
  std::string event = start_event(0);
  append_bytes(event, 3, "brain.Event:2");
  append_record(event);
}

EventFile::~EventFile() {
  try {
    flush();
  } catch (const Error&) {  // a caller who wants to know has called flush()
  }
  close(descriptor_);
}

void EventFile::scalar(std::string_view tag, std::int64_t step, double value, double wall_time_s) {
  std::string entry, summary, event = start_event(wall_time_s);
  append_bytes(entry, 1, tag);
  append_key(entry, 2, kFixed32);
  append_fixed(entry, static_cast<float>(value));
  append_bytes(summary, 1, entry);
  append_key(event, 2, kVarint);
  append_varint(event, static_cast<std::uint64_t>(step));
  append_bytes(event, 5, summary);
  append_record(event);
}

void EventFile::append_record(std::string_view data) {
  std::string length;
  append_fixed(length, static_cast<std::uint64_t>(data.size()));
  buffer_ += length;
  append_fixed(buffer_, masked_crc32c(length));
  buffer_ += data;
  append_fixed(buffer_, masked_crc32c(data));
  if (buffer_.size() >= kBufferBytes) flush();
}

void EventFile::flush() {
  while (!buffer_.empty()) {
    const ssize_t count = ::write(descriptor_, buffer_.data(), buffer_.size());
    if (count < 0 && errno != EINTR) fail_io("{}: expected to write, got: {}", path_, std::strerror(errno));
    if (count > 0) buffer_.erase(0, static_cast<std::size_t>(count));
  }
}

}  // namespace metarm
