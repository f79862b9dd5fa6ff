// SPDX-License-Identifier: Apache-2.0
// Device memory set aside for a save before its cut, while the program still runs: taking memory,
// and touching it for the first time where that is what makes it, would lengthen the hold.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "executor/shadow_memory.h"

namespace phos::executor {

class SpareMemory {
 public:
  SpareMemory(const DriverTable& driver, CUdevice device)
      : driver_(driver), memory_(std::make_unique<ShadowMemory>(driver, device)) {}

  // CUDA_ERROR_OUT_OF_MEMORY when the device has no more. The context must be current.
  CUresult take(std::uint64_t bytes) { return memory_->take(bytes); }
  // Writes all of it once, piece by piece, so that the program's own commands come in between; ends
  // early when the memory is wanted or it takes too long. The context must be current. Without the
  // session's lock.
  void touch();
  // Waits until nobody touches it any more, for one piece at most, and hands it over.
  std::unique_ptr<ShadowMemory> release();
  std::uint64_t bytes() const noexcept { return memory_ == nullptr ? 0 : memory_->bytes(); }

 private:
  const DriverTable& driver_;
  std::unique_ptr<ShadowMemory> memory_;
  std::atomic<bool> wanted_{false};
  std::atomic<bool> busy_{false};
};

}  // namespace phos::executor
