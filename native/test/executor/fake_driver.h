// SPDX-License-Identifier: Apache-2.0
// A driver table whose device does only what a test lets it do. Memory is real memory at the real
// addresses; commands run when they are submitted, but a stream can be held, and then everything
// on it counts as unfinished until it is let go.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "gen/driver_table.h"

namespace phos::test {

class FakeDriver {
 public:
  FakeDriver();
  ~FakeDriver();
  const DriverTable& table() const noexcept { return table_; }

  // Everything submitted to this stream from here on stays unfinished until release().
  void hold(CUstream stream);
  void release(CUstream stream);
  // Names of the calls that changed something, in order, each with its stream's number.
  std::vector<std::string> log();
  std::size_t count(const std::string& entry);
  // Physical memory that is mapped, in bytes.
  std::uint64_t mapped_bytes();
  // The next call of this name answers `result`.
  void fail_next(const std::string& name, CUresult result);

 private:
  DriverTable table_{};
};

}  // namespace phos::test
