#include "metarm/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/gzip_reader.h"

namespace metarm {
namespace {

std::string gzip(std::string_view text) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    fail_internal("gzip: expected zlib to start, got no stream");
  std::string packed, chunk(1 << 18, '\0');
  int code = Z_OK;
  while (code == Z_OK) {
    if (stream.avail_in == 0) {  // avail_in has 32 bits, texts may be longer
      const std::size_t count = std::min<std::size_t>(text.size(), 1 << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
      stream.avail_in = static_cast<uInt>(count);
      text.remove_prefix(count);
    }
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    code = deflate(&stream, text.empty() ? Z_FINISH : Z_NO_FLUSH);
    packed.append(chunk.data(), chunk.size() - stream.avail_out);
  }
  deflateEnd(&stream);
  if (code != Z_STREAM_END) fail_internal("gzip: expected the end of the stream, got code {}", code);
  return packed;
}

std::string_view without_line_end(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_io("{}: expected a readable file, got: {}", path, std::strerror(errno));
  struct stat status {};
  void* address = nullptr;
  const bool regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = static_cast<std::size_t>(status.st_size);
  if (regular && size > 0) address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const int error = errno;
  close(descriptor);
  if (!regular) fail_io("{}: expected a file, got a folder or device", path);
  if (address == MAP_FAILED) fail_io("{}: expected a file that can be mapped to memory, got: {}", path, std::strerror(error));
  if (size > 0) bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  if (path.ends_with(".gz"))
    file.write(gzip(text));
  else
    file.write(text);
  file.commit();
}

std::string read_file(const std::string& path) {
  GzipReader reader(path);
  std::string text;
  for (std::string_view chunk = reader.next_chunk(); !chunk.empty(); chunk = reader.next_chunk()) text += chunk;
  return text;
}

void for_each_line(const std::string& path, const std::function<void(std::string_view, std::int64_t)>& line) {
  GzipReader reader(path);
  std::string begun;  // a line whose end is in a later chunk
  std::int64_t number = 0;
  for (std::string_view chunk = reader.next_chunk(); !chunk.empty(); chunk = reader.next_chunk()) {
    for (std::size_t end; (end = chunk.find('\n')) != std::string_view::npos; chunk.remove_prefix(end + 1)) {
      std::string_view text = chunk.substr(0, end);
      if (!begun.empty()) text = begun += text;
      line(without_line_end(text), ++number);
      begun.clear();
    }
    begun += chunk;
  }
  if (!begun.empty()) line(without_line_end(begun), ++number);
}

}  // namespace metarm
