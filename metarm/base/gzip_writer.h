// Packing to gzip, piece by piece.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace metarm {

class GzipWriter {
 public:
  GzipWriter();
  ~GzipWriter();

  // What is to be written next, often nothing yet. `finish` ends the stream; equal texts give equal bytes.
  std::string pack(std::string_view text);
  std::string finish();

 private:
  std::string deflate_all(std::string_view text, bool end);

  struct Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace metarm
