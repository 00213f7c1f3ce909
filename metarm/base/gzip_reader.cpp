#include "metarm/base/gzip_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {
namespace {

constexpr std::size_t kChunkBytes = 1 << 18;
constexpr std::string_view kMagic = "\x1f\x8b";

}  // namespace

GzipReader::GzipReader(const std::string& path) : path_(path), descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) fail_io("{}: expected a readable file, got: {}", path, std::strerror(errno));
  if (inflateInit2(&stream_, 15 + 16) != Z_OK) {
    close(descriptor_);
    fail_internal("gzip: expected zlib to start, got no stream");
  }
}

GzipReader::~GzipReader() {
  inflateEnd(&stream_);
  close(descriptor_);
}

bool GzipReader::fill() {
  input_.assign(rest_);
  const std::size_t kept = input_.size();
  input_.resize(kept + kChunkBytes);
  ssize_t count = 0;
  do count = read(descriptor_, input_.data() + kept, kChunkBytes);
  while (count < 0 && errno == EINTR);
  if (count < 0) fail_io("{}: expected a readable file, got: {}", path_, std::strerror(errno));
  rest_ = std::string_view(input_).substr(0, kept + static_cast<std::size_t>(count));
  return count > 0;
}

void GzipReader::recognise() {
  while (rest_.size() < kMagic.size() && fill()) {
  }
  state_ = rest_.starts_with(kMagic) ? State::member : State::plain;
}

bool GzipReader::begin_member() {
  do rest_.remove_prefix(std::min(rest_.find_first_not_of('\0'), rest_.size()));
  while (rest_.empty() && fill());
  if (rest_.empty()) return false;
  inflateReset(&stream_);
  state_ = State::member;
  return true;
}

std::string_view GzipReader::unpack() {
  output_.resize(kChunkBytes);
  stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest_.data()));
  stream_.avail_in = static_cast<uInt>(rest_.size());
  stream_.next_out = reinterpret_cast<Bytef*>(output_.data());
  stream_.avail_out = static_cast<uInt>(output_.size());
  const int code = inflate(&stream_, Z_NO_FLUSH);
  rest_ = rest_.substr(rest_.size() - stream_.avail_in);
  if (code == Z_STREAM_END)
    state_ = State::between;
  else if (code != Z_OK && code != Z_BUF_ERROR)
    fail_input("{}: expected gzip data, got damaged ones ({})", path_, stream_.msg != nullptr ? stream_.msg : "no reason known");
  return std::string_view(output_).substr(0, output_.size() - stream_.avail_out);
}

std::string_view GzipReader::next_chunk() {
  if (state_ == State::start) recognise();
  if (state_ == State::plain) {
    if (rest_.empty()) fill();
    return std::exchange(rest_, {});
  }
  for (;;) {
    if (state_ == State::between && !begin_member()) return {};
    if (const std::string_view chunk = unpack(); !chunk.empty()) return chunk;
    if (state_ == State::member && rest_.empty() && !fill())
      fail_input("{}: expected a whole gzip file, got one that is cut off; fetch it again", path_);
  }
}

}  // namespace metarm
