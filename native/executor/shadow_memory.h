// SPDX-License-Identifier: Apache-2.0
// Free device memory that a checkpoint borrows: the copy of a cut, or the pool into which chunks
// are copied aside. Outside the client's window, and given back as a whole.
#pragma once

#include <cstdint>

#include "gen/driver_table.h"

namespace phos::executor {

class ShadowMemory {
 public:
  ShadowMemory(const DriverTable& driver, CUdevice device) : driver_(driver), device_(device) {}
  ~ShadowMemory() { free(); }
  ShadowMemory(const ShadowMemory&) = delete;
  ShadowMemory& operator=(const ShadowMemory&) = delete;

  // Takes `bytes` (rounded up to chunks). CUDA_ERROR_OUT_OF_MEMORY when the device has no more;
  // then nothing is held. The context must be current.
  CUresult take(std::uint64_t bytes);
  // Nothing on the device may use it any more.
  void free() noexcept;

  std::uint64_t address() const noexcept { return address_; }
  std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  const DriverTable& driver_;
  const CUdevice device_;
  std::uint64_t address_ = 0;
  std::uint64_t bytes_ = 0;
  CUmemGenericAllocationHandle handle_ = 0;
};

// Free bytes of the device that a checkpoint may borrow: some stay for the program, which may
// allocate while it runs on.
std::uint64_t borrowable_bytes(const DriverTable& driver) noexcept;

}  // namespace phos::executor
