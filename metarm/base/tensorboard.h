// TensorBoard event files with scalars: TFRecord framing around protobuf `Event` messages. TensorBoard finds files whose names hold
// `tfevents`.
//
//   record   length (u64), masked CRC-32C of the length (u32), data, masked CRC-32C of the data (u32), all little-endian
//   Event    1: wall_time (double), 2: step (varint), 3: file_version (text), 5: summary { 1: value { 1: tag (text), 2: simple_value
//   (float) } }
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace metarm {

class EventFile {
 public:
  // Appends to `path`, after its last whole record: what a killed writer left unfinished is cut off. io error when it cannot be written.
  explicit EventFile(const std::string& path);
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;
  ~EventFile();  // flushes what it can

  void scalar(std::string_view tag, std::int64_t step, double value, double wall_time_s);
  void flush();  // io error when the disk is full

 private:
  void append_record(std::string_view data);

  std::string path_, buffer_;
  int descriptor_ = -1;
};

}  // namespace metarm
