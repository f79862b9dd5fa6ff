// SPDX-License-Identifier: Apache-2.0
// Virtual memory management: reservations, physical memory and what is mapped where.
#include <algorithm>

#include "drivers/sim/context.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/pages.h"

namespace phos::sim {
namespace {

bool is_whole(std::uint64_t value) noexcept { return value % kGranularity == 0; }

}  // namespace

CUresult Memory::reserve(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t wish,
                         std::uint64_t* base) {
  if (bytes == 0 || !is_whole(bytes) || (alignment & (alignment - 1)) != 0 ||
      bytes > kMaxAddress) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::uint64_t unit = std::max(alignment, kGranularity);
  const auto is_free = [&](std::uint64_t at) {
    auto next = reservations_.lower_bound(at);
    if (next != reservations_.end() && next->first < at + bytes) {
      return false;
    }
    if (next != reservations_.begin()) {
      const Reservation& before = std::prev(next)->second;
      if (before.base + before.bytes > at) {
        return false;
      }
    }
    // The ranges that sim gives out itself are never reserved by others.
    const std::uint64_t own_end = kAllocationBase + 16 * kAllocationStride;
    return !(at < own_end && at + bytes > kPlacedBase) && !overlaps(at, bytes);
  };
  if (wish != 0 && wish % unit == 0 && wish + bytes <= kMaxAddress && is_free(wish)) {
    *base = wish;
  } else {
    std::uint64_t at = (next_reserve_ + unit - 1) / unit * unit;
    while (at + bytes <= kReserveEnd && !is_free(at)) {
      at += unit;
    }
    if (at + bytes > kReserveEnd) {
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *base = at;
    next_reserve_ = at + bytes;
  }
  reservations_[*base] = {*base, bytes};
  return CUDA_SUCCESS;
}

CUresult Memory::unreserve(std::uint64_t base, std::uint64_t bytes) {
  const auto it = reservations_.find(base);
  if (it == reservations_.end() || it->second.bytes != bytes || overlaps(base, bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  reservations_.erase(it);
  return CUDA_SUCCESS;
}

std::optional<Reservation> Memory::reservation_of(std::uint64_t address) const {
  auto next = reservations_.upper_bound(address);
  if (next == reservations_.begin()) {
    return std::nullopt;
  }
  const Reservation& reservation = std::prev(next)->second;
  return address - reservation.base < reservation.bytes ? std::optional(reservation)
                                                         : std::nullopt;
}

CUresult Memory::create_physical(const Device& device, std::uint64_t bytes,
                                 const CUmemAllocationProp& properties,
                                 std::shared_ptr<Physical>* physical) {
  if (bytes == 0 || !is_whole(bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (bytes > free_bytes(device)) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  std::byte* pages = map_pages(bytes);
  if (pages == nullptr) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  used_[device.ordinal] += bytes;
  // The count of used memory goes down when the last handle and the last mapping are gone.
  const int ordinal = device.ordinal;
  *physical = std::shared_ptr<Physical>(new Physical, [this, ordinal](Physical* dead) {
    used_[ordinal] -= dead->bytes;
    delete dead;
  });
  (*physical)->bytes = bytes;
  (*physical)->host = pages;
  (*physical)->device = ordinal;
  (*physical)->properties = properties;
  return CUDA_SUCCESS;
}

CUresult Memory::map(std::uint64_t base, std::uint64_t bytes, std::uint64_t offset,
                     const std::shared_ptr<Physical>& physical) {
  if (bytes == 0 || !is_whole(base) || !is_whole(bytes) || !is_whole(offset) ||
      offset > physical->bytes || bytes > physical->bytes - offset || overlaps(base, bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto reservation = reservation_of(base);
  if (!reservation || base + bytes > reservation->base + reservation->bytes) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Block block{.base = base,
              .bytes = bytes,
              .kind = BlockKind::mapping,
              .device = physical->device,
              .host = physical->host + offset,
              .physical = physical->handle,
              .physical_offset = offset,
              .accessible = false};
  add(block);
  mapped_[base] = physical;
  return CUDA_SUCCESS;
}

// Only whole mappings can be unmapped, several at a time where they touch.
CUresult Memory::unmap(std::uint64_t base, std::uint64_t bytes) {
  std::uint64_t at = base;
  while (at < base + bytes) {
    const auto it = blocks_.find(at);
    if (it == blocks_.end() || it->second.kind != BlockKind::mapping ||
        at + it->second.bytes > base + bytes) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    at += it->second.bytes;
  }
  if (bytes == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  at = base;
  while (at < base + bytes) {
    const auto it = blocks_.find(at);
    at += it->second.bytes;
    forget(it);
  }
  return CUDA_SUCCESS;
}

CUresult Memory::set_access(std::uint64_t base, std::uint64_t bytes, bool readable,
                            bool writable) {
  std::uint64_t at = base;
  while (at < base + bytes) {
    const auto it = blocks_.find(at);
    if (it == blocks_.end() || it->second.kind != BlockKind::mapping ||
        at + it->second.bytes > base + bytes) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    at += it->second.bytes;
  }
  if (bytes == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (at = base; at < base + bytes;) {
    Block& block = blocks_.find(at)->second;
    at += block.bytes;
    if (block.accessible) {
      hide(block);
    }
    block.accessible = readable;
    block.read_only = readable && !writable;
    if (readable) {
      expose(block);
    }
  }
  return CUDA_SUCCESS;
}

std::shared_ptr<Physical> Memory::physical_of(std::uint64_t address) const {
  const Block* block = find(address);
  if (block == nullptr || block->kind != BlockKind::mapping) {
    return nullptr;
  }
  const auto it = mapped_.find(block->base);
  return it == mapped_.end() ? nullptr : it->second;
}

}  // namespace phos::sim
