// SPDX-License-Identifier: Apache-2.0
// What the client knows about addresses: allocations, host memory, variables of modules. Pointer
// attributes are answered from here, and copies and frees are checked against it.
#pragma once

#include <cstdint>
#include <functional>

#include "phos/cuda_abi.h"

namespace phos::client {

enum class MemoryKind : std::uint8_t {
  device,      // cuMemAlloc
  pool,        // cuMemAllocAsync
  variable,    // a global of a module
  host,        // cuMemHostAlloc: arena memory
  managed,     // cuMemAllocManaged: arena memory
  registered,  // cuMemHostRegister: the program's own pages
  mapped,      // memory mapped into a reservation
};

struct MemoryRange {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
  MemoryKind kind = MemoryKind::device;
  CUdevice device = 0;
  unsigned flags = 0;            // of the call that made it
  std::uint64_t context = 0;     // in which it was made
  std::uint64_t owner = 0;       // module or library of a variable, pool of a pool allocation
  std::uint64_t buffer_id = 0;   // unique in this process
  bool sync_memops = false;
  std::uint64_t end() const noexcept { return base + bytes; }
  bool is_host() const noexcept {
    return kind == MemoryKind::host || kind == MemoryKind::managed ||
           kind == MemoryKind::registered;
  }
};

// Adds a range with a new buffer id. False where it overlaps one that is there, or memory is short.
bool add_range(MemoryRange range) noexcept;
// The range that holds the address.
bool find_range(std::uint64_t address, MemoryRange* range) noexcept;
// True if [address, address + bytes) lies within one range.
bool range_holds(std::uint64_t address, std::uint64_t bytes, MemoryRange* range) noexcept;
// Takes away the range that starts at `base`, if `accept` likes it: of two threads that free one
// range, one is told that it is not there.
bool take_range(std::uint64_t base, bool (*accept)(const MemoryRange&),
                MemoryRange* range) noexcept;
// Takes away every range of a context, or of an owner, and calls `gone` for each.
void forget_ranges_of(std::uint64_t context,
                      const std::function<void(const MemoryRange&)>& gone) noexcept;
void forget_ranges_of_owner(std::uint64_t owner) noexcept;
// Changes CU_POINTER_ATTRIBUTE_SYNC_MEMOPS of the range that holds the address.
bool set_sync_memops(std::uint64_t address, bool value) noexcept;

// Counts a range of a pool that was freed (memory_pools.cc).
void note_pool_free(const MemoryRange& range) noexcept;

}  // namespace phos::client
