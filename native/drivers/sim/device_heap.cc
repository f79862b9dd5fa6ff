// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/device_heap.h"

#include <cstdlib>

namespace phos::sim {
namespace {

constexpr std::uint64_t kAlign = 256;

}  // namespace

std::uint64_t DeviceHeap::allocate(AddressSpace& space, std::uint64_t bytes) {
  const std::lock_guard guard(lock_);
  const std::uint64_t room = (bytes / kAlign + 1) * kAlign;
  if (bytes == 0 || bytes > limit_ - used_ || room > kHeapEnd - next_) {
    return 0;
  }
  auto* host = static_cast<std::byte*>(std::calloc(1, bytes));
  if (host == nullptr || !space.add({next_, bytes, host, kExtentNone})) {
    std::free(host);
    return 0;
  }
  const std::uint64_t address = next_;
  pieces_[address] = {host, bytes};
  used_ += bytes;
  next_ += room;
  return address;
}

void DeviceHeap::release(AddressSpace& space, std::uint64_t address) {
  const std::lock_guard guard(lock_);
  const auto it = pieces_.find(address);
  if (it == pieces_.end() || !space.remove(address)) {
    return;
  }
  used_ -= it->second.bytes;
  std::free(it->second.host);
  pieces_.erase(it);
}

void DeviceHeap::set_limit(std::uint64_t bytes) {
  const std::lock_guard guard(lock_);
  limit_ = bytes > used_ ? bytes : used_;
}

DeviceHeap& device_heap() {
  static auto* heap = new DeviceHeap;
  return *heap;
}

}  // namespace phos::sim
