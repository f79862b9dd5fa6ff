// SPDX-License-Identifier: Apache-2.0
// The slow side of every memory access: finding the extent, and every fault.
#include "runner.h"

namespace phos::sim::ptx {

void stop(const Instr& instr, int error, std::uint32_t lane, std::uint64_t address,
          const char* reason) {
  throw Stop{error, address, lane, &instr, reason};
}

bool refill(Warp& warp, const Instr& instr, std::uint64_t lo, std::uint64_t end, Access access) {
  const std::optional<Extent> extent = warp.runner->memory().find(lo);
  if (!extent || !extent->contains(lo, end - lo) ||
      (access != Access::load && (extent->flags & kExtentReadOnly) != 0)) {
    return false;
  }
  ExtentCache& cache = warp.caches[instr.cache];
  cache.lo = extent->address;
  cache.end = extent->address + extent->bytes;
  // SAFETY: the difference of two addresses, kept as a number; used only for [lo, end).
  cache.delta = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(extent->host) -
                                          extent->address);
  return true;
}

std::byte* reach_shared(Warp& warp, const Instr& instr, std::uint32_t lane, std::uint64_t address,
                        std::uint32_t bytes, std::uint32_t align) {
  if ((address & (align - 1)) != 0) {
    stop(instr, kErrorMisalignedAddress, lane, kSharedWindow + address,
         "the address in shared memory is not aligned");
  }
  if (address >= warp.shared_bytes || bytes > warp.shared_bytes - address) {
    stop(instr, kErrorIllegalAddress, lane, kSharedWindow + address,
         "the address is outside of the block's shared memory");
  }
  return warp.shared + address;
}

std::byte* reach_local(Warp& warp, const Instr& instr, std::uint32_t lane, std::uint64_t address,
                       std::uint32_t bytes, std::uint32_t align) {
  if ((address & (align - 1)) != 0) {
    stop(instr, kErrorMisalignedAddress, lane, kLocalWindow + address,
         "the address in local memory is not aligned");
  }
  if (warp.local == nullptr || address >= warp.local_stride ||
      bytes > warp.local_stride - address) {
    stop(instr, kErrorIllegalAddress, lane, kLocalWindow + address,
         "the address is outside of the thread's local memory");
  }
  return warp.local + std::uint64_t{lane} * warp.local_stride + address;
}

const std::byte* reach_param(Warp& warp, const Instr& instr, std::uint32_t lane,
                             std::uint64_t address, std::uint32_t bytes, std::uint32_t align) {
  if ((address & (align - 1)) != 0) {
    stop(instr, kErrorMisalignedAddress, lane, kParamWindow + address,
         "the address of a parameter is not aligned");
  }
  if (address >= warp.param_bytes || bytes > warp.param_bytes - address) {
    stop(instr, kErrorIllegalAddress, lane, kParamWindow + address,
         "the address is outside of the kernel's parameters");
  }
  return warp.params + address;
}

std::byte* reach(Warp& warp, const Instr& instr, std::uint32_t lane, std::uint64_t address,
                 std::uint32_t bytes, std::uint32_t align, Access access) {
  if (address - kSharedWindow < kSpecialWindowBytes) {
    return reach_shared(warp, instr, lane, address - kSharedWindow, bytes, align);
  }
  if (address - kLocalWindow < kSpecialWindowBytes) {
    return reach_local(warp, instr, lane, address - kLocalWindow, bytes, align);
  }
  if (address - kParamWindow < kSpecialWindowBytes && access == Access::load) {
    // SAFETY: for a load; nobody writes through it.
    return const_cast<std::byte*>(
        reach_param(warp, instr, lane, address - kParamWindow, bytes, align));
  }
  if ((address & (align - 1)) != 0) {
    stop(instr, kErrorMisalignedAddress, lane, address, "the address is not aligned");
  }
  if (!refill(warp, instr, address, address + bytes, access)) {
    const bool exists = warp.runner->memory().resolve(address, bytes) != nullptr;
    stop(instr, kErrorIllegalAddress, lane, address,
         exists ? "the memory at this address must not be written"
                : "there is no memory at this address");
  }
  // SAFETY: the extent that was just found holds the bytes.
  return reinterpret_cast<std::byte*>(address +
                                      static_cast<std::uint64_t>(warp.caches[instr.cache].delta));
}

std::uint64_t clock_now(const Warp& warp) { return warp.runner->clock(); }

std::uint64_t time_now(const Warp& warp) { return warp.runner->services().time_ns(); }

}  // namespace phos::sim::ptx
