// SPDX-License-Identifier: Apache-2.0
// Device memory at fixed addresses: one window reserved with the driver's virtual memory calls,
// handed out in granules of kChunkBytes. Large allocations have granules of their own, small ones
// are packed into shared granules (slabs) at kSubAllocAlign.
//
// cuMemFree promises that everything under way has finished; cuMemUnmap promises nothing. So a free
// retires a range, and it is used again only when every stream has passed the free.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "executor/range_map.h"
#include "executor/streams.h"
#include "gen/driver_table.h"
#include "phos/address_window.h"

namespace phos::executor {

// Requests up to this size share granules.
inline constexpr std::uint64_t kSmallBytes = 1U << 20;

struct Allocation {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;  // as asked for
};

struct MemoryRange {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
};

// Addresses that a program reserves: `exact` 0, or where they must lie; `address` 0, or where it
// would like them.
struct RangeWish {
  std::uint64_t bytes = 0;
  std::uint64_t alignment = 0;
  std::uint64_t address = 0;
  std::uint64_t exact = 0;
};

// A further view of an allocation of whole granules, in a range that the program has reserved.
struct Alias {
  std::uint64_t bytes = 0;
  std::uint64_t home = 0;  // address of the allocation
  std::uint64_t offset = 0;
  std::uint32_t access = 0;  // CUmemAccess_flags
};

// Extends an ascending list of merged granules by those of the next allocation.
void add_granules(std::vector<MemoryRange>& ranges, const Allocation& allocation);

class DeviceMemory {
 public:
  // `limit` bounds physical memory, 0 = the device does. Nothing is reserved yet.
  DeviceMemory(const DriverTable& driver, CUdevice device, std::uint64_t base,
               std::uint64_t limit);
  ~DeviceMemory();

  // Reserves the window; the context must be current. CUDA_ERROR_INVALID_ADDRESS_SPACE when the
  // driver gives another address.
  CUresult reserve();

  CUresult allocate(std::uint64_t bytes, Streams& streams, std::uint64_t* address);
  // At exactly this address: for restore. CUDA_ERROR_INVALID_VALUE when part of it is taken.
  CUresult allocate_at(std::uint64_t address, std::uint64_t bytes);
  // Takes an allocation out of the live set. CUDA_ERROR_INVALID_VALUE when there is none there.
  CUresult retire(std::uint64_t address, Streams& streams);
  // Uses again what every stream has passed. Returns false while ranges are still waiting.
  bool reclaim(Streams& streams);
  // While a checkpoint reads the memory of its cut: `may_reuse` is asked about every retired range
  // before it is unmapped or given to somebody else. Null ends that.
  using MayReuse = std::function<bool(const MemoryRange& range)>;
  void set_guard(MayReuse may_reuse) { may_reuse_ = std::move(may_reuse); }
  bool has_retired() const noexcept { return !retired_.empty(); }

  // The live allocation that holds `address`, or null.
  const Allocation* find(std::uint64_t address) const noexcept;
  std::vector<Allocation> allocations() const;
  // Granules that hold live memory, merged and ascending: what a checkpoint copies.
  std::vector<MemoryRange> live_ranges() const;

  // What programs reserve and map themselves (device_aliases.cc). Unmapping waits for nothing.
  CUresult reserve_range(const RangeWish& wish, std::uint64_t* address);
  CUresult free_range(std::uint64_t address);
  CUresult map_alias(std::uint64_t address, const Alias& alias);
  CUresult set_alias_access(std::uint64_t address, std::uint32_t flags);
  CUresult unmap_alias(std::uint64_t address);

  std::uint64_t used_bytes() const noexcept { return used_; }
  std::uint64_t mapped_bytes() const noexcept { return mapped_; }
  std::uint64_t limit() const noexcept { return limit_; }
  std::uint64_t base() const noexcept { return base_; }

  // Gives the physical memory back and keeps the addresses (suspend); takes new memory for them
  // (resume). On an error remap() leaves nothing mapped.
  CUresult unmap_all();
  CUresult remap_all();
  // Forgets everything: the client is gone.
  void release_all();

 private:
  struct Mapping {
    std::uint64_t bytes = 0;
    CUmemGenericAllocationHandle handle = 0;
    bool mapped = false;
  };
  struct Slab {
    RangeMap free;
    std::uint32_t live = 0;  // allocations, retired ones included
  };
  struct Retired {
    std::uint64_t address;
    std::uint64_t bytes;
    std::uint64_t stamp;
  };

  CUresult map(std::uint64_t address, std::uint64_t bytes, Mapping& mapping);
  void unmap(std::uint64_t address, Mapping& mapping);
  CUresult take_granules(std::uint64_t address, std::uint64_t bytes);
  void drop_granules(std::uint64_t address);
  CUresult allocate_small(std::uint64_t bytes, std::uint64_t* address);
  CUresult allocate_large(std::uint64_t bytes, std::uint64_t* address);
  void recycle(std::uint64_t address, std::uint64_t bytes);
  CUresult grant_alias(std::uint64_t address, const Alias& alias);
  void hide_aliases();
  CUresult show_aliases();

  const DriverTable& driver_;
  const CUdevice device_;
  const std::uint64_t base_;
  const std::uint64_t limit_;
  bool reserved_ = false;
  RangeMap window_;
  std::map<std::uint64_t, Mapping> mappings_;  // by address of the first granule
  std::map<std::uint64_t, Slab> slabs_;
  std::map<std::uint64_t, Allocation> live_;
  std::deque<Retired> retired_;
  std::map<std::uint64_t, Alias> aliases_;
  std::map<std::uint64_t, std::uint64_t> reservations_;  // bytes, by address
  std::uint64_t used_ = 0;
  std::uint64_t mapped_ = 0;
  MayReuse may_reuse_;
};

}  // namespace phos::executor
