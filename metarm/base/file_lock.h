// An exclusive lock on a file, for a folder to which one program at a time may write. It lasts as long as any process has its descriptor:
// this one, and those that inherit it (child_process.h), which may outlive this one.
#pragma once

#include <string>

namespace metarm {

class FileLock {
 public:
  // Makes the file where there is none. While others hold the lock it waits, up to `patience_s`: what has just been killed needs a moment
  // to end. Then an input error that names them. A file system without locks gives none, and no error.
  FileLock(const std::string& path, double patience_s);
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace metarm
