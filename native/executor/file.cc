// SPDX-License-Identifier: Apache-2.0
#include "executor/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "executor/failure.h"
#include "executor/fault.h"
#include "executor/image_format.h"

namespace phos::executor {

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
    path_ = std::move(other.path_);
    direct_ = other.direct_;
  }
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

File File::create(const std::string& path, bool direct) {
  if (const int error = fault_point("image.create"); error != 0) {
    throw_errno(error, "creating", path);
  }
  File file;
  file.path_ = path;
  const int flags = O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC;
  if (direct) {
    file.fd_ = ::open(path.c_str(), flags | O_DIRECT, 0600);
    file.direct_ = file.fd_ >= 0;
    // A failed O_DIRECT open may have made the file (open(2), BUGS): start again without it.
    if (file.fd_ < 0 && errno == EINVAL) ::unlink(path.c_str());
  }
  if (file.fd_ < 0 && (!direct || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOENT)) {
    file.fd_ = ::open(path.c_str(), flags, 0600);
  }
  if (file.fd_ < 0 && errno == EEXIST) {
    throw Failure(Code::conflict, "Writing the image: " + path +
                                      " exists already; give an empty folder.",
                  {{"path", path}});
  }
  if (file.fd_ < 0) throw_errno(errno, "creating", path);
  return file;
}

File File::open(const std::string& path, bool direct) {
  if (const int error = fault_point("image.open"); error != 0) throw_errno(error, "opening", path);
  File file;
  file.path_ = path;
  if (direct) file.fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  file.direct_ = file.fd_ >= 0;
  if (file.fd_ < 0) file.fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.fd_ < 0 && (errno == ENOENT || errno == ENOTDIR)) {
    throw_invalid(path, 0, "the file is missing");
  }
  if (file.fd_ < 0) throw_errno(errno, "opening", path);
  return file;
}

void File::write_at(const void* data, std::size_t bytes, std::uint64_t offset) const {
  if (const int error = fault_point("image.write"); error != 0) {
    // A torn write leaves its first half; whether that is on the disk does not matter here.
    if (error == kShortWrite && ::pwrite(fd_, data, bytes / 2, static_cast<off_t>(offset)) >= 0) {
      throw_errno(ENOSPC, "writing", path_);
    }
    throw_errno(error, "writing", path_);
  }
  const auto* at = static_cast<const std::uint8_t*>(data);
  while (bytes != 0) {
    const ssize_t done = ::pwrite(fd_, at, bytes, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw_errno(errno, "writing", path_);
    // A short write to a full disk: the next one says why.
    if (done == 0) throw_errno(ENOSPC, "writing", path_);
    at += done;
    offset += static_cast<std::uint64_t>(done);
    bytes -= static_cast<std::size_t>(done);
  }
}

void File::read_at(void* data, std::size_t bytes, std::uint64_t offset) const {
  if (const int error = fault_point("image.read"); error != 0) {
    throw_errno(error, "reading", path_);
  }
  auto* at = static_cast<std::uint8_t*>(data);
  while (bytes != 0) {
    const ssize_t done = ::pread(fd_, at, bytes, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw_errno(errno, "reading", path_);
    if (done == 0) throw_invalid(path_, offset, "the file ends early");
    at += done;
    offset += static_cast<std::uint64_t>(done);
    bytes -= static_cast<std::size_t>(done);
  }
}

void File::sync() const {
  if (const int error = fault_point("image.sync"); error != 0) {
    throw_errno(error, "syncing", path_);
  }
  if (::fdatasync(fd_) != 0) throw_errno(errno, "syncing", path_);
}

std::uint64_t File::size() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) throw_errno(errno, "measuring", path_);
  if (!S_ISREG(status.st_mode)) throw_invalid(path_, 0, "not a regular file");
  return static_cast<std::uint64_t>(status.st_size);
}

void File::close() {
  // Linux releases the descriptor whatever close() answers; an error is one of the writes'.
  if (fd_ >= 0 && ::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) {
    throw_errno(errno, "closing", path_);
  }
}

void sync_directory(const std::string& path) {
  if (const int error = fault_point("image.sync"); error != 0) {
    throw_errno(error, "syncing", path);
  }
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw_errno(errno, "opening", path);
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  if (result != 0) throw_errno(error, "syncing", path);
}

void FreeDeleter::operator()(std::uint8_t* data) const noexcept { std::free(data); }

PageBuffer make_page_buffer(std::size_t bytes) {
  // SAFETY: aligned_alloc wants a multiple of the alignment; free() releases it.
  auto* data = static_cast<std::uint8_t*>(std::aligned_alloc(kPageBytes, padded(bytes)));
  if (data == nullptr) {
    throw Failure(Code::unavailable, "No host memory for a buffer of " + std::to_string(bytes) +
                                         " bytes; free memory and try again.",
                  {}, true);
  }
  return PageBuffer(data);
}

}  // namespace phos::executor
