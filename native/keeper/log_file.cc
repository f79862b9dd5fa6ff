// SPDX-License-Identifier: Apache-2.0
#include "log_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

namespace phos::keeper {

bool LogFile::open_file() {
  if (path_.empty()) return false;
  fd_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd_.valid()) return false;
  struct stat facts {};
  size_ = ::fstat(fd_.get(), &facts) == 0 ? static_cast<std::uint64_t>(facts.st_size) : 0;
  return true;
}

void LogFile::append(std::string_view bytes) {
  if (fd_.valid() && size_ > 0 && size_ + bytes.size() > limit_bytes_) {
    fd_.reset();
    // A failed rename only lets this file grow beyond its size; the output is worth more.
    std::rename(path_.c_str(), (path_ + ".1").c_str());
  }
  if (!fd_.valid() && !open_file()) {
    lost_bytes_ += bytes.size();
    return;
  }
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      lost_bytes_ += bytes.size();
      return;
    }
    size_ += static_cast<std::uint64_t>(count);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace phos::keeper
