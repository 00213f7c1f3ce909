#include "metarm/base/gzip_writer.h"

#include <zlib.h>

#include <algorithm>

#include "metarm/base/error.h"

namespace metarm {

struct GzipWriter::Stream {
  z_stream z{};
  ~Stream() { deflateEnd(&z); }
};

GzipWriter::GzipWriter() : stream_(std::make_unique<Stream>()) {
  if (deflateInit2(&stream_->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    fail_internal("gzip: expected zlib to start, got no stream");
}

GzipWriter::~GzipWriter() = default;

std::string GzipWriter::deflate_all(std::string_view text, bool end) {
  z_stream& z = stream_->z;
  std::string packed;
  char chunk[1 << 15];
  do {
    const std::size_t count = std::min<std::size_t>(text.size(), 1 << 30);  // avail_in has 32 bits, texts may be longer
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    z.avail_in = static_cast<uInt>(count);
    text.remove_prefix(count);
    do {  // until zlib has no more to give
      z.next_out = reinterpret_cast<Bytef*>(chunk);
      z.avail_out = sizeof chunk;
      if (deflate(&z, end && text.empty() ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR)
        fail_internal("gzip: expected zlib to pack, got a stream error");
      packed.append(chunk, sizeof chunk - z.avail_out);
    } while (z.avail_out == 0);
  } while (!text.empty());
  return packed;
}

std::string GzipWriter::pack(std::string_view text) { return deflate_all(text, false); }
std::string GzipWriter::finish() { return deflate_all({}, true); }

}  // namespace metarm
