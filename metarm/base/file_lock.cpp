#include "metarm/base/file_lock.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/stopwatch.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kPause(20);

// What a folder holds, as far as it can be read: processes end meanwhile, or are others'.
std::vector<fs::path> list(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) paths.push_back(entry->path());
  return paths;
}

bool has_open(const fs::path& process, const std::string& path) {
  std::error_code error;
  for (const fs::path& descriptor : list(process / "fd"))
    if (fs::equivalent(descriptor, path, error)) return true;
  return false;
}

// "sleep (4242), sh (4241)": name and number of each other process that has the file open.
std::string list_holders(const std::string& path) {
  std::vector<std::string> holders;
  for (const fs::path& process : list("/proc")) {
    const std::string id = process.filename().string();
    if (id.find_first_not_of("0123456789") != id.npos || id == std::to_string(getpid()) || !has_open(process, path)) continue;
    std::string name;
    std::ifstream comm(process / "comm");
    std::getline(comm, name);
    holders.push_back(fmt::format("{} ({})", name, id));
  }
  return holders.empty() ? "one that is not to be seen from here" : fmt::format("{}", fmt::join(holders, ", "));
}

}  // namespace

FileLock::FileLock(const std::string& path, double patience_s) : descriptor_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) fail_io("{}: expected to write, got: {}", path, std::strerror(errno));
  const Stopwatch stopwatch;
  while (flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    if (stopwatch.seconds() > patience_s) {
      const std::string holders = list_holders(path);
      close(descriptor_);
      fail_input("{}: expected no other process at work, got {}; wait until it has ended, or end it, then the same command goes on", path,
                 holders);
    }
    std::this_thread::sleep_for(kPause);
  }
}

FileLock::~FileLock() { close(descriptor_); }

}  // namespace metarm
