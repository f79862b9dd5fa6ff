// SPDX-License-Identifier: Apache-2.0
// Memory for malloc and free in device code. It has a lock of its own, because kernels ask for it
// in the middle of a step, when the runtime lock must not be taken.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "drivers/sim/memory/address_space.h"

namespace phos::sim {

inline constexpr std::uint64_t kHeapBase = 0x218000000000;
inline constexpr std::uint64_t kHeapEnd = 0x220000000000;

class DeviceHeap {
 public:
  // Address of new memory, 0 if the heap is full. Addresses grow and are not used again, so that a
  // use after free is always found.
  std::uint64_t allocate(AddressSpace& space, std::uint64_t bytes);
  // Ignores what allocate() did not give.
  void release(AddressSpace& space, std::uint64_t address);
  void set_limit(std::uint64_t bytes);

 private:
  struct Piece {
    std::byte* host = nullptr;
    std::uint64_t bytes = 0;
  };
  std::mutex lock_;
  std::map<std::uint64_t, Piece> pieces_;
  std::uint64_t next_ = kHeapBase;
  std::uint64_t used_ = 0;
  std::uint64_t limit_ = 8U << 20;
};

DeviceHeap& device_heap();

}  // namespace phos::sim
