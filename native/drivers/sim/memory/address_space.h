// SPDX-License-Identifier: Apache-2.0
// Which device addresses exist, and where their bytes lie in this process. The driver adds an
// extent for every allocation, module variable and mapped host range; kernels look addresses up.
//
// Threads: add() and find() may run at any time, on any thread. remove() must not take away an
// extent that a running kernel may still touch; the driver calls it when nothing runs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <shared_mutex>
#include <vector>

namespace phos::sim {

// Generic addresses that name no allocation: windows of 4 GiB each inside 47 bits, so that programs
// that pack tags into the upper bits of a pointer keep working. Nothing is ever mapped here.
inline constexpr std::uint64_t kSharedWindow = 0x300000000000;
inline constexpr std::uint64_t kLocalWindow = 0x300100000000;
inline constexpr std::uint64_t kParamWindow = 0x300200000000;
inline constexpr std::uint64_t kFunctionWindow = 0x300300000000;
inline constexpr std::uint64_t kWorkspaceWindow = 0x300400000000;  // of cooperative grids
inline constexpr std::uint64_t kSpecialWindowBytes = 0x100000000;
inline constexpr std::uint64_t kFunctionStride = 16;

enum ExtentFlags : std::uint32_t {
  kExtentNone = 0,
  kExtentReadOnly = 1,  // stores and atomics fault with 700
  kExtentConst = 2,     // memory of a .const variable
  kExtentHost = 4,      // host memory that the device may reach
};

struct Extent {
  std::uint64_t address = 0;  // first device address
  std::uint64_t bytes = 0;
  std::byte* host = nullptr;  // where the byte at `address` lies in this process
  std::uint32_t flags = kExtentNone;

  bool contains(std::uint64_t at, std::uint64_t count) const noexcept {
    return at >= address && count <= bytes && at - address <= bytes - count;
  }
};

class AddressSpace {
 public:
  AddressSpace() = default;
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;

  // False, and nothing changed, if the extent is empty, has no host memory, wraps around, or
  // overlaps another.
  [[nodiscard]] bool add(const Extent& extent);
  // False if no extent starts at this address.
  [[nodiscard]] bool remove(std::uint64_t address);

  // The extent that holds this address.
  std::optional<Extent> find(std::uint64_t address) const;
  // Host memory behind [address, address + bytes); null unless one extent holds it all.
  std::byte* resolve(std::uint64_t address, std::uint64_t bytes) const;

  // Grows with every add and remove. What was found before is stale once this differs.
  std::uint64_t generation() const noexcept {
    return generation_.load(std::memory_order_acquire);
  }
  std::size_t size() const;

 private:
  mutable std::shared_mutex mutex_;
  std::vector<Extent> extents_;  // sorted by address, disjoint
  std::atomic<std::uint64_t> generation_{1};
};

}  // namespace phos::sim
