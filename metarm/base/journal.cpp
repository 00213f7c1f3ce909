#include "metarm/base/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/file.h"

namespace metarm {

Journal::Journal(std::string path, const std::function<void(const JsonRow&)>& row) : path_(std::move(path)) {
  open();
  try {
    read(row);
  } catch (...) {
    close();
    throw;
  }
}

Journal::~Journal() { close(); }

void Journal::close() {
  struct stat status {};
  if (fstat(descriptor_, &status) == 0 && status.st_size == 0 && status.st_nlink > 0) unlink(path_.c_str());
  ::close(descriptor_);
}

void Journal::open() {
  for (;;) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail_io("{}: expected to write, got: {}", path_, std::strerror(errno));
    struct stat status {};
    const bool locked = flock(descriptor_, LOCK_EX | LOCK_NB) == 0, known = fstat(descriptor_, &status) == 0;
    if (locked && known && S_ISREG(status.st_mode) && status.st_nlink > 0) return;
    ::close(descriptor_);
    if (!locked) fail_input("{}: expected no other process to use it, got one that does; wait for it, or name another file", path_);
    if (!known || !S_ISREG(status.st_mode)) fail_input("{}: expected a file, got a device or pipe", path_);
    // Its last user has removed it meanwhile: once more.
  }
}

// Cuts only once all before has proved to be what it should: the user may have named another file by mistake.
void Journal::read(const std::function<void(const JsonRow&)>& row) {
  const std::string text = read_file(path_);
  const std::size_t end = text.rfind('\n') + 1;  // 0 where there is none
  if (end == 0 && !text.empty()) fail_input("{}: expected lines, got a piece of one; remove the file to begin anew", path_);
  std::int64_t number = 0;
  for (std::string_view rest = std::string_view(text).substr(0, end); !rest.empty(); rest.remove_prefix(rest.find('\n') + 1)) {
    JsonRow parsed{{}, path_, ++number};
    parsed.value = parse_json(rest.substr(0, rest.find('\n')), parsed.where());
    if (!parsed.value.is_object()) fail_input("{}: expected an object, got {}", parsed.where(), json_type_name(parsed.value));
    row(parsed);
  }
  if (end < text.size() && ftruncate(descriptor_, static_cast<off_t>(end)) != 0)
    fail_io("{}: expected to write, got: {}", path_, std::strerror(errno));
}

void Journal::append(const Json& row) {
  const std::string text = row.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  const off_t before = lseek(descriptor_, 0, SEEK_END);
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t count = ::write(descriptor_, rest.data(), rest.size());
    if (count < 0 && errno != EINTR) {
      const int error = errno;
      [[maybe_unused]] const int cut = ftruncate(descriptor_, before);  // no half line, to which the next would be added
      errno = error;
      fail_io("{}: expected to write, got: {}{}", path_, std::strerror(errno), errno == ENOSPC ? "; free some space and run again" : "");
    }
    if (count > 0) rest.remove_prefix(static_cast<std::size_t>(count));
  }
}

void Journal::remove() {
  if (unlink(path_.c_str()) != 0) fail_io("{}: expected to remove it, got: {}", path_, std::strerror(errno));
}

}  // namespace metarm
