// Files that appear whole or not at all, memory-mapped input, and gzip.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace metarm {

class GzipWriter;

// A read-only memory-mapped file; an empty file is an empty span. Move-only. io error when it cannot be opened.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

// A file under a temporary name beside its destination (a device such as /dev/stdout is written directly). commit() flushes it to disk and
// renames it into place; without commit the temporary file is removed and the destination is as before. Packed as gzip where the name ends
// in .gz. io error (disk full and the like) from write and commit.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(std::string_view text);
  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  void append(std::string_view bytes);

  std::string path_, temporary_, buffer_;
  std::unique_ptr<GzipWriter> gzip_;
  int descriptor_ = -1;
};

void write_file(const std::string& path, std::string_view text);  // atomic, as AtomicFile
std::string read_file(const std::string& path);                   // whole file; unpacks gzip by its magic bytes

// A folder under a temporary name beside its destination, for outputs of several files. commit() renames it into place.
// The destination must not exist (or be an empty folder): an input error that says so, thrown from the constructor.
class AtomicDirectory {
 public:
  explicit AtomicDirectory(const std::string& path);
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  ~AtomicDirectory();

  const std::string& path() const { return temporary_; }  // where to write before commit
  void commit();

 private:
  std::string destination_, temporary_;
  bool committed_ = false;
};

// Whether this is the name that an output has beside its destination while it is written. A killed process leaves such names behind.
bool is_temporary(const std::string& path);
// Removes what this process has under such names: for a signal that is about to end it.
void remove_unfinished_outputs();

void sync_directory(const std::string& path);  // makes renames in it durable

// Calls `line` with each line of a text file (gzip or plain, no line end, 1-based number). Lines may end in \r\n; a last line without an
// end counts; the file need not fit in memory.
void for_each_line(const std::string& path, const std::function<void(std::string_view line, std::int64_t number)>& line);

}  // namespace metarm
