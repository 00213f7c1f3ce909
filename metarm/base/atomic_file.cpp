// The writing half of file.h.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/gzip_writer.h"

namespace metarm {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kBufferBytes = 1 << 16;

[[noreturn]] void fail_write(const std::string& path, int error) {
  fail_io("{}: expected to write, got: {}{}", path, std::strerror(error), error == ENOSPC ? "; free some space and run again" : "");
}

constexpr std::string_view kTemporary = ".tmp-";

// This process's temporary files and folders. Never destroyed: a signal may come while the process ends.
struct Unfinished {
  std::mutex mutex;
  std::set<std::string> paths;
};
Unfinished& unfinished() {
  static Unfinished* all = new Unfinished;
  return *all;
}

std::string begin_temporary(const std::string& path) {
  static std::atomic<int> count = 0;
  const std::string temporary = fmt::format("{}{}{}-{}", path, kTemporary, getpid(), count++);
  const std::lock_guard lock(unfinished().mutex);
  unfinished().paths.insert(temporary);
  return temporary;
}

void end_temporary(const std::string& temporary) {
  const std::lock_guard lock(unfinished().mutex);
  unfinished().paths.erase(temporary);
}

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

void sync_path(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  if (!synced && error != EINVAL) fail_write(path, error);  // EINVAL: a file system without fsync
}

void write_all(const std::string& path, int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(descriptor, text.data(), text.size());
    if (count < 0 && errno != EINTR) fail_write(path, errno);
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace

void sync_directory(const std::string& path) { sync_path(path); }

bool is_temporary(const std::string& path) {
  const auto count_digits = [](std::string_view text) { return std::min(text.find_first_not_of("0123456789"), text.size()); };
  const std::size_t at = path.rfind(kTemporary);
  if (at == path.npos) return false;
  std::string_view numbers = std::string_view(path).substr(at + kTemporary.size());
  const std::size_t process = count_digits(numbers);
  if (process == 0 || process == numbers.size() || numbers[process] != '-') return false;
  numbers.remove_prefix(process + 1);
  return !numbers.empty() && count_digits(numbers) == numbers.size();
}

void remove_unfinished_outputs() {
  const std::lock_guard lock(unfinished().mutex);
  std::error_code ignored;
  for (const std::string& path : unfinished().paths) fs::remove_all(path, ignored);
}

AtomicFile::AtomicFile(const std::string& path) : path_(path), gzip_(path.ends_with(".gz") ? std::make_unique<GzipWriter>() : nullptr) {
  std::error_code ignored;
  if (fs::is_symlink(path_, ignored)) path_ = fs::weakly_canonical(path_, ignored).string();
  const fs::file_status status = fs::status(path_, ignored);
  if (fs::is_directory(status)) fail_input("{}: expected a file to write, got a folder; give a file's name", path);
  if (fs::exists(status) && !fs::is_regular_file(status)) {  // a device or pipe: there is nothing to rename
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    temporary_ = begin_temporary(path_);
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  }
  if (descriptor_ >= 0) return;
  const int error = errno;
  end_temporary(temporary_);
  fail_write(path, error);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  if (temporary_.empty()) return;
  unlink(temporary_.c_str());
  end_temporary(temporary_);
}

void AtomicFile::append(std::string_view bytes) {
  if (buffer_.size() + bytes.size() <= kBufferBytes) {
    buffer_ += bytes;
    return;
  }
  write_all(path_, descriptor_, buffer_);
  buffer_.clear();
  write_all(path_, descriptor_, bytes);
}

void AtomicFile::write(std::string_view text) {
  if (gzip_)
    append(gzip_->pack(text));
  else
    append(text);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::commit() {
  if (gzip_) append(gzip_->finish());
  write_all(path_, descriptor_, buffer_);
  buffer_.clear();
  if (!temporary_.empty()) {
    if (fsync(descriptor_) != 0 && errno != EINVAL) fail_write(path_, errno);
    if (rename(temporary_.c_str(), path_.c_str()) != 0) fail_write(path_, errno);
    end_temporary(temporary_);
    temporary_.clear();
    sync_directory(parent_of(path_));
  }
  close(descriptor_);
  descriptor_ = -1;
}

AtomicDirectory::AtomicDirectory(const std::string& path) {
  fs::path destination = fs::path(path).lexically_normal();
  if (!destination.has_filename()) destination = destination.parent_path();  // `out/` is `out`
  destination_ = destination.string();
  std::error_code error;
  const fs::file_status status = fs::status(destination, error);
  if (fs::exists(status) && !(fs::is_directory(status) && fs::is_empty(destination, error)))
    fail_input("{}: expected a folder that does not exist yet, got one that does; choose another or remove it", path);
  fs::create_directories(parent_of(destination_), error);
  temporary_ = begin_temporary(destination_);
  if (fs::create_directory(temporary_, error)) return;
  end_temporary(temporary_);
  fail_write(path, error ? error.value() : EEXIST);
}

AtomicDirectory::~AtomicDirectory() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
  end_temporary(temporary_);
}

void AtomicDirectory::commit() {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(temporary_)) sync_path(entry.path().string());
  sync_path(temporary_);
  if (rename(temporary_.c_str(), destination_.c_str()) != 0) fail_write(destination_, errno);
  end_temporary(temporary_);
  committed_ = true;
  sync_directory(parent_of(destination_));
}

}  // namespace metarm
