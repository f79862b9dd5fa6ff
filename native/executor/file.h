// SPDX-License-Identifier: Apache-2.0
// Files of an image: created new, written in full or a typed failure, synced before they count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace phos::executor {

class File {
 public:
  File() = default;
  File(File&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), direct_(other.direct_) {}
  File& operator=(File&& other) noexcept;
  ~File();

  // A new file (0600); CONFLICT when there is one. `direct` asks for O_DIRECT, which is given up
  // where the file system has none.
  static File create(const std::string& path, bool direct);
  // An existing file for reading; IMAGE_INVALID when it is missing.
  static File open(const std::string& path, bool direct);

  // STORAGE on any error or when the file ends early. Each passes the fault point of its name.
  void write_at(const void* data, std::size_t bytes, std::uint64_t offset) const;
  void read_at(void* data, std::size_t bytes, std::uint64_t offset) const;
  void sync() const;
  std::uint64_t size() const;
  void close();

  const std::string& path() const noexcept { return path_; }
  bool is_open() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
  std::string path_;
  bool direct_ = false;
};

void sync_directory(const std::string& path);

struct FreeDeleter {
  void operator()(std::uint8_t* data) const noexcept;
};
// Page-aligned memory, as O_DIRECT needs. Throws Failure UNAVAILABLE when there is none.
using PageBuffer = std::unique_ptr<std::uint8_t[], FreeDeleter>;
PageBuffer make_page_buffer(std::size_t bytes);

}  // namespace phos::executor
