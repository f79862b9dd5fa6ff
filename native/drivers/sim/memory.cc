// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>

#include "drivers/sim/context.h"
#include "drivers/sim/pages.h"

namespace phos::sim {
namespace {

constexpr std::uint64_t kPage = 4096;
// Freed memory from this size on is given back to the system.
constexpr std::uint64_t kGiveBack = 1U << 20;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

// First fit over one range of addresses, whose backing lies at a constant distance.
struct Memory::Region {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
  std::byte* host = nullptr;
  std::map<std::uint64_t, std::uint64_t> free;  // base -> bytes

  std::optional<std::uint64_t> take(std::uint64_t wanted) {
    for (auto it = free.begin(); it != free.end(); ++it) {
      if (it->second < wanted) {
        continue;
      }
      const std::uint64_t at = it->first;
      const std::uint64_t rest = it->second - wanted;
      free.erase(it);
      if (rest != 0) {
        free.emplace(at + wanted, rest);
      }
      return at;
    }
    return std::nullopt;
  }

  void give(std::uint64_t at, std::uint64_t size) {
    auto next = free.lower_bound(at);
    if (next != free.end() && at + size == next->first) {
      size += next->second;
      next = free.erase(next);
    }
    if (next != free.begin()) {
      auto before = std::prev(next);
      if (before->first + before->second == at) {
        before->second += size;
        return;
      }
    }
    free.emplace(at, size);
  }
};

Memory::Memory(std::mutex& step_lock) : step_lock_(step_lock) {}
Memory::~Memory() = default;

Physical::~Physical() {
  if (host != nullptr) {
    unmap_pages(host, bytes);
  }
}

Memory::Region* Memory::region_of(const Device& device) {
  const auto index = static_cast<std::size_t>(device.ordinal);
  if (regions_.size() <= index) {
    regions_.resize(index + 1);
  }
  if (!regions_[index]) {
    auto region = std::make_unique<Region>();
    region->base = kAllocationBase + index * kAllocationStride;
    // Twice the memory: room for holes. How much is in use is counted apart.
    region->bytes = std::min(device.memory_bytes * 2, kAllocationStride);
    region->host = map_pages(region->bytes);
    if (region->host == nullptr) {
      return nullptr;
    }
    region->free.emplace(region->base, region->bytes);
    regions_[index] = std::move(region);
  }
  return regions_[index].get();
}

void Memory::expose(const Block& block) {
  std::uint32_t flags = block.is_host() ? kExtentHost : kExtentNone;
  flags |= block.read_only ? kExtentReadOnly : 0U;
  flags |= block.kind == BlockKind::constant ? kExtentConst | kExtentReadOnly : 0U;
  // Blocks never overlap, so this cannot be refused.
  [[maybe_unused]] const bool added =
      space_.add({block.base, block.bytes, block.host, flags});
  assert(added);
}

void Memory::hide(const Block& block) {
  const std::lock_guard nothing_runs(step_lock_);
  [[maybe_unused]] const bool removed = space_.remove(block.base);
  assert(removed);
}

Block& Memory::add(Block block) {
  block.id = next_id_++;
  const std::uint64_t base = block.base;
  return blocks_.insert_or_assign(base, block).first->second;
}

bool Memory::overlaps(std::uint64_t base, std::uint64_t bytes) const noexcept {
  auto next = blocks_.lower_bound(base);
  if (next != blocks_.end() && next->first < base + bytes) {
    return true;
  }
  if (next == blocks_.begin()) {
    return false;
  }
  const Block& before = std::prev(next)->second;
  return before.base + before.bytes > base;
}

const Block* Memory::find(std::uint64_t address) const noexcept {
  auto next = blocks_.upper_bound(address);
  if (next == blocks_.begin()) {
    return nullptr;
  }
  const Block& block = std::prev(next)->second;
  return address - block.base < block.bytes ? &block : nullptr;
}

Block* Memory::find(std::uint64_t address) noexcept {
  return const_cast<Block*>(static_cast<const Memory*>(this)->find(address));
}

bool Memory::covers(std::uint64_t address, std::uint64_t bytes) const noexcept {
  while (bytes != 0) {
    const Block* block = find(address);
    if (block == nullptr || !block->accessible) {
      return false;
    }
    const std::uint64_t step = std::min(bytes, block->base + block->bytes - address);
    address += step;
    bytes -= step;
  }
  return true;
}

CUresult Memory::allocate(const Device& device, std::uint64_t context, std::uint64_t bytes,
                          BlockKind kind, Block** out) {
  if (bytes > free_bytes(device)) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  Block block{.bytes = bytes, .kind = kind, .device = device.ordinal, .context = context};
  if (kind == BlockKind::managed) {
    block.host = map_pages(bytes);
    if (block.host == nullptr) {
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    block.base = reinterpret_cast<std::uint64_t>(block.host);
  } else {
    Region* region = region_of(device);
    const auto at = region == nullptr
                        ? std::nullopt
                        : region->take(round_up(bytes, kAllocationAlign) + kRedZone);
    if (!at) {
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    block.base = *at;
    block.host = region->host + (*at - region->base);
  }
  expose(block);
  used_[device.ordinal] += bytes;
  *out = &add(block);
  return CUDA_SUCCESS;
}

// Takes a block out of the books and gives its bytes back.
void Memory::forget(std::map<std::uint64_t, Block>::iterator at) {
  const Block block = at->second;
  blocks_.erase(at);
  if (block.accessible) {
    hide(block);
  }
  switch (block.kind) {
    case BlockKind::device:
    case BlockKind::pooled:
    case BlockKind::array: {
      Region& region = *regions_[static_cast<std::size_t>(block.device)];
      used_[block.device] -= block.bytes;
      if (block.bytes >= kGiveBack) {
        const std::uint64_t skip =
            round_up(reinterpret_cast<std::uint64_t>(block.host), kPage) -
            reinterpret_cast<std::uint64_t>(block.host);
        // SAFETY: whole pages inside a block that nobody translates to any more.
        madvise(block.host + skip, (block.bytes - skip) / kPage * kPage, MADV_DONTNEED);
      }
      region.give(block.base, round_up(block.bytes, kAllocationAlign) + kRedZone);
      break;
    }
    case BlockKind::managed:
    case BlockKind::placed:
    case BlockKind::constant:
      used_[block.device] -= block.bytes;
      unmap_pages(block.host, block.bytes);
      break;
    case BlockKind::host:
      unmap_pages(block.host, block.bytes);
      break;
    case BlockKind::registered:
      break;
    case BlockKind::mapping:
      mapped_.erase(block.base);
      break;
  }
}

CUresult Memory::free(std::uint64_t base) {
  const auto it = blocks_.find(base);
  if (it == blocks_.end() ||
      (it->second.kind != BlockKind::device && it->second.kind != BlockKind::managed &&
       it->second.kind != BlockKind::pooled && it->second.kind != BlockKind::array)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  forget(it);
  return CUDA_SUCCESS;
}

CUresult Memory::allocate_host(std::uint64_t context, std::uint64_t bytes, unsigned flags,
                               void** out) {
  std::byte* host = map_pages(bytes);
  if (host == nullptr) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  Block block{.base = reinterpret_cast<std::uint64_t>(host),
              .bytes = bytes,
              .kind = BlockKind::host,
              .context = context,
              .flags = flags,
              .host = host};
  expose(block);
  add(block);
  *out = host;
  return CUDA_SUCCESS;
}

CUresult Memory::free_host(void* base) {
  const auto it = blocks_.find(reinterpret_cast<std::uint64_t>(base));
  if (it == blocks_.end() || it->second.kind != BlockKind::host) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  forget(it);
  return CUDA_SUCCESS;
}

CUresult Memory::register_host(std::uint64_t context, void* base, std::uint64_t bytes,
                               unsigned flags) {
  const auto address = reinterpret_cast<std::uint64_t>(base);
  if (bytes == 0 || address + bytes < address || address + bytes > kMaxAddress) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (overlaps(address, bytes)) {
    return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  }
  // The whole range must be mapped in this process; the driver refuses it otherwise, too.
  const std::uint64_t first = address / kPage * kPage;
  std::vector<unsigned char> pages(
      static_cast<std::size_t>((round_up(address + bytes, kPage) - first) / kPage));
  // SAFETY: mincore only reports on the range; it does not touch it.
  if (mincore(reinterpret_cast<void*>(first), pages.size() * kPage, pages.data()) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Block block{.base = address,
              .bytes = bytes,
              .kind = BlockKind::registered,
              .context = context,
              .flags = flags,
              .host = static_cast<std::byte*>(base)};
  block.read_only = (flags & CU_MEMHOSTREGISTER_READ_ONLY) != 0;
  expose(block);
  add(block);
  return CUDA_SUCCESS;
}

CUresult Memory::unregister_host(void* base) {
  const auto it = blocks_.find(reinterpret_cast<std::uint64_t>(base));
  if (it == blocks_.end() || it->second.kind != BlockKind::registered) {
    return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  }
  forget(it);
  return CUDA_SUCCESS;
}

CUresult Memory::place(const Device& device, std::uint64_t context, std::uint64_t bytes,
                       bool constant, Block** out) {
  const std::uint64_t room = round_up(bytes, kAllocationAlign) + kRedZone;
  if (bytes > free_bytes(device) || room > kPlacedEnd - next_placed_) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  std::byte* host = map_pages(bytes);
  if (host == nullptr) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  Block block{.base = next_placed_,
              .bytes = bytes,
              .kind = constant ? BlockKind::constant : BlockKind::placed,
              .device = device.ordinal,
              .context = context,
              .host = host};
  next_placed_ += room;
  used_[device.ordinal] += bytes;
  expose(block);
  *out = &add(block);
  return CUDA_SUCCESS;
}

void Memory::unplace(std::uint64_t base) {
  const auto it = blocks_.find(base);
  if (it != blocks_.end() && (it->second.kind == BlockKind::placed ||
                              it->second.kind == BlockKind::constant ||
                              it->second.kind == BlockKind::managed)) {
    forget(it);
  }
}

void Memory::free_context(std::uint64_t context) {
  for (auto it = blocks_.begin(); it != blocks_.end();) {
    const auto here = it++;
    // VMM mappings belong to the process, not to the context that happened to be current.
    if (here->second.context == context && here->second.kind != BlockKind::mapping) {
      forget(here);
    }
  }
}

std::uint64_t Memory::place_functions(std::uint32_t count) noexcept {
  const std::uint64_t base = next_function_;
  next_function_ += (std::uint64_t{count} + 1) * kFunctionStride;
  return base;
}

std::uint64_t Memory::used(int device) const noexcept {
  const auto it = used_.find(device);
  return it == used_.end() ? 0 : it->second;
}

std::uint64_t Memory::free_bytes(const Device& device) const noexcept {
  return device.memory_bytes - std::min(device.memory_bytes, used(device.ordinal));
}

}  // namespace phos::sim
