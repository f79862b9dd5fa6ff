// SPDX-License-Identifier: Apache-2.0
// All memory that the simulated devices can reach, by device address. Device addresses are numbers
// of their own: `space` translates them to where the bytes really lie in this process, so no host
// address is fixed and sanitizers work. Host memory that the device can reach (pinned, registered)
// has its own address as its device address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "drivers/sim/memory/address_space.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

struct Device;

// cuMemAlloc hands out addresses here, 1 TiB for each device; what the driver itself places (module
// variables, function addresses) lies in a region that only grows, so that loading the same
// modules in the same order gives the same addresses; reservations without a wish lie behind both.
inline constexpr std::uint64_t kPlacedBase = 0x210000000000;
inline constexpr std::uint64_t kPlacedEnd = 0x218000000000;
inline constexpr std::uint64_t kAllocationBase = 0x220000000000;
inline constexpr std::uint64_t kAllocationStride = 0x010000000000;
inline constexpr std::uint64_t kReserveBase = 0x380000000000;
inline constexpr std::uint64_t kReserveEnd = 0x400000000000;
inline constexpr std::uint64_t kGranularity = 2U << 20;  // of VMM reservations and handles
inline constexpr std::uint64_t kAllocationAlign = 512;
inline constexpr std::uint64_t kRedZone = 512;  // never mapped, behind every allocation
inline constexpr std::uint64_t kMaxAddress = 1ULL << 47;

enum class BlockKind : std::uint8_t {
  device,      // cuMemAlloc and relatives
  managed,     // cuMemAllocManaged: host memory at one address for both sides
  pooled,      // stream-ordered
  array,       // behind an array; not for programs
  placed,      // module variables
  constant,    // module variables in .const
  host,        // cuMemHostAlloc
  registered,  // cuMemHostRegister
  mapping,     // VMM
};

struct Block {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;  // as asked for
  BlockKind kind = BlockKind::device;
  int device = 0;
  std::uint64_t context = 0;  // handle
  std::uint64_t id = 0;       // CU_POINTER_ATTRIBUTE_BUFFER_ID
  unsigned flags = 0;
  std::byte* host = nullptr;  // the bytes in this process
  std::uint64_t physical = 0;    // VMM: handle of what is mapped, 0 after it was released
  std::uint64_t physical_offset = 0;
  bool accessible = true;  // VMM: cuMemSetAccess has been called
  bool read_only = false;
  std::uint64_t pool = 0;  // pooled: handle of the pool
  bool freeing = false;    // a stream-ordered free is queued
  int sync_memops = 0;

  bool is_host() const noexcept { return kind == BlockKind::host || kind == BlockKind::registered; }
};

// Physical memory of cuMemCreate. Lives as long as a handle or a mapping refers to it.
struct Physical {
  std::uint64_t handle = 0;
  std::uint64_t bytes = 0;
  std::byte* host = nullptr;
  int device = 0;
  CUmemAllocationProp properties{};
  std::uint32_t handle_references = 1;
  ~Physical();
};

struct Reservation {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
};

// Guarded by the runtime lock, but for `space`, which has a lock of its own. What takes memory away
// also takes `step_lock`, so that no kernel is running over it; hence the order of the locks, and
// hence a step never takes the runtime lock.
class Memory {
 public:
  explicit Memory(std::mutex& step_lock);
  ~Memory();

  AddressSpace& space() noexcept { return space_; }

  // The block that holds `address`; null if there is none.
  const Block* find(std::uint64_t address) const noexcept;
  Block* find(std::uint64_t address) noexcept;
  // True if all bytes lie in blocks that are accessible and touch each other.
  bool covers(std::uint64_t address, std::uint64_t bytes) const noexcept;

  CUresult allocate(const Device& device, std::uint64_t context, std::uint64_t bytes,
                    BlockKind kind, Block** block);
  // Frees a block of cuMemAlloc, cuMemAllocManaged or a pool by its exact base.
  CUresult free(std::uint64_t base);
  CUresult allocate_host(std::uint64_t context, std::uint64_t bytes, unsigned flags, void** out);
  CUresult free_host(void* base);
  CUresult register_host(std::uint64_t context, void* base, std::uint64_t bytes, unsigned flags);
  CUresult unregister_host(void* base);
  // Memory at the next free address of the placed region; never reused.
  CUresult place(const Device& device, std::uint64_t context, std::uint64_t bytes, bool constant,
                 Block** block);
  void unplace(std::uint64_t base);
  void free_context(std::uint64_t context);

  CUresult reserve(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t wish,
                   std::uint64_t* base);
  std::optional<Reservation> reservation_of(std::uint64_t address) const;
  CUresult unreserve(std::uint64_t base, std::uint64_t bytes);
  CUresult create_physical(const Device& device, std::uint64_t bytes,
                           const CUmemAllocationProp& properties,
                           std::shared_ptr<Physical>* physical);
  CUresult map(std::uint64_t base, std::uint64_t bytes, std::uint64_t offset,
               const std::shared_ptr<Physical>& physical);
  CUresult unmap(std::uint64_t base, std::uint64_t bytes);
  CUresult set_access(std::uint64_t base, std::uint64_t bytes, bool readable, bool writable);
  std::shared_ptr<Physical> physical_of(std::uint64_t address) const;

  // First address of a range for `count` device functions; never reused.
  std::uint64_t place_functions(std::uint32_t count) noexcept;

  std::uint64_t used(int device) const noexcept;
  std::uint64_t free_bytes(const Device& device) const noexcept;

 private:
  struct Region;  // address range of cuMemAlloc on one device, and its backing

  Region* region_of(const Device& device);
  Block& add(Block block);
  void forget(std::map<std::uint64_t, Block>::iterator at);
  bool overlaps(std::uint64_t base, std::uint64_t bytes) const noexcept;

  void expose(const Block& block);
  void hide(const Block& block);

  std::mutex& step_lock_;
  AddressSpace space_;
  std::map<std::uint64_t, Block> blocks_;  // by base
  std::map<std::uint64_t, Reservation> reservations_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Physical>> mapped_;  // by base of the mapping
  std::vector<std::unique_ptr<Region>> regions_;
  std::unordered_map<int, std::uint64_t> used_;
  std::uint64_t next_placed_ = kPlacedBase;
  std::uint64_t next_function_ = kFunctionWindow;
  std::uint64_t next_reserve_ = kReserveBase;
  std::uint64_t next_id_ = 1;

  friend struct Physical;
};

}  // namespace phos::sim
