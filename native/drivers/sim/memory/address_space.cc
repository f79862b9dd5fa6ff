// SPDX-License-Identifier: Apache-2.0
#include "address_space.h"

#include <algorithm>
#include <mutex>

namespace phos::sim {
namespace {

bool starts_after(std::uint64_t address, const Extent& extent) {
  return address < extent.address;
}

}  // namespace

bool AddressSpace::add(const Extent& extent) {
  if (extent.bytes == 0 || extent.host == nullptr ||
      extent.address + extent.bytes < extent.address) {
    return false;
  }
  const std::unique_lock lock(mutex_);
  const auto next =
      std::upper_bound(extents_.begin(), extents_.end(), extent.address, starts_after);
  if (next != extents_.end() && next->address - extent.address < extent.bytes) {
    return false;
  }
  if (next != extents_.begin()) {
    const Extent& before = *std::prev(next);
    if (extent.address - before.address < before.bytes) {
      return false;
    }
  }
  extents_.insert(next, extent);
  generation_.fetch_add(1, std::memory_order_release);
  return true;
}

bool AddressSpace::remove(std::uint64_t address) {
  const std::unique_lock lock(mutex_);
  const auto next = std::upper_bound(extents_.begin(), extents_.end(), address, starts_after);
  if (next == extents_.begin() || std::prev(next)->address != address) {
    return false;
  }
  extents_.erase(std::prev(next));
  generation_.fetch_add(1, std::memory_order_release);
  return true;
}

std::optional<Extent> AddressSpace::find(std::uint64_t address) const {
  const std::shared_lock lock(mutex_);
  const auto next = std::upper_bound(extents_.begin(), extents_.end(), address, starts_after);
  if (next == extents_.begin()) {
    return std::nullopt;
  }
  const Extent& extent = *std::prev(next);
  if (!extent.contains(address, 1)) {
    return std::nullopt;
  }
  return extent;
}

std::byte* AddressSpace::resolve(std::uint64_t address, std::uint64_t bytes) const {
  const std::optional<Extent> extent = find(address);
  if (!extent || !extent->contains(address, bytes)) {
    return nullptr;
  }
  return extent->host + (address - extent->address);
}

std::size_t AddressSpace::size() const {
  const std::shared_lock lock(mutex_);
  return extents_.size();
}

}  // namespace phos::sim
