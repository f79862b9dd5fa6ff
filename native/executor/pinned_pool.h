// SPDX-License-Identifier: Apache-2.0
// Small pinned buffers for copies to the host that end in a reply: a copy into pageable memory
// would block the thread that asks for it.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "gen/driver_table.h"

namespace phos::executor {

class PinnedPool {
 public:
  static constexpr std::size_t kBlockBytes = 2048;

  explicit PinnedPool(const DriverTable& driver) : driver_(driver) {}
  ~PinnedPool() { clear(); }

  // A buffer of kBlockBytes, null when the driver has none. The context must be current.
  std::uint8_t* take();
  void give(std::uint8_t* block);
  // Every block must have been given back: the context is about to go.
  void clear();

 private:
  static constexpr std::size_t kSlabBlocks = 64;

  const DriverTable& driver_;
  std::mutex mutex_;
  std::vector<std::uint8_t*> spare_;
  std::vector<void*> slabs_;
};

}  // namespace phos::executor
