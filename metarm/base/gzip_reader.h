// A file as a stream of chunks: gzip unpacked by its magic bytes, anything else as it is.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace metarm {

// io error when the file cannot be read. Input error when gzip data are damaged or cut off: after the end of a member come only further
// members, zeros, or the end of the file.
class GzipReader {
 public:
  explicit GzipReader(const std::string& path);
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;
  ~GzipReader();

  std::string_view next_chunk();  // empty at the end; lasts until the next call

 private:
  enum class State { start, plain, member, between };

  bool fill();  // more input; false at the end of the file
  void recognise();
  bool begin_member();  // past zeros; false at the end of the file
  std::string_view unpack();

  std::string path_, input_, output_;
  std::string_view rest_;  // of the input
  int descriptor_ = -1;
  State state_ = State::start;
  z_stream stream_{};
};

}  // namespace metarm
