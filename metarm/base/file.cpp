#include "metarm/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/gzip_reader.h"

namespace metarm {
namespace {

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
