// SPDX-License-Identifier: Apache-2.0
// Where output goes while nobody is attached: a file that is rotated at a size, with one old one
// kept beside it (NAME.1), so a job never holds more than twice that size for each stream.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "unique_fd.h"

namespace phos::keeper {

class LogFile {
 public:
  /** An empty path discards everything (and counts it as lost). */
  LogFile(std::string path, std::uint64_t limit_bytes)
      : path_(std::move(path)), limit_bytes_(limit_bytes) {}

  /** Appends. Bytes that the disk refuses are counted, never waited for. */
  void append(std::string_view bytes);

  [[nodiscard]] std::uint64_t lost_bytes() const noexcept { return lost_bytes_; }

 private:
  bool open_file();

  std::string path_;
  std::uint64_t limit_bytes_;
  UniqueFd fd_;
  std::uint64_t size_ = 0;
  std::uint64_t lost_bytes_ = 0;
};

}  // namespace phos::keeper
