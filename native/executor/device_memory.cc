// SPDX-License-Identifier: Apache-2.0
#include "executor/device_memory.h"

#include <algorithm>

#include "executor/fault.h"
#include "executor/window.h"

namespace phos::executor {

namespace {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return (value + unit - 1) / unit * unit;
}
constexpr std::uint64_t granule_of(std::uint64_t address) noexcept {
  return address / kChunkBytes * kChunkBytes;
}

}  // namespace

DeviceMemory::DeviceMemory(const DriverTable& driver, CUdevice device, std::uint64_t base,
                           std::uint64_t limit)
    : driver_(driver),
      device_(device),
      base_(base),
      limit_(limit),
      window_(base, device_window_bytes()) {}

DeviceMemory::~DeviceMemory() {
  release_all();
  if (reserved_) driver_.cuMemAddressFree(base_, device_window_bytes());
}

CUresult DeviceMemory::reserve() {
  CUdeviceptr given = 0;
  const CUresult result =
      driver_.cuMemAddressReserve(&given, device_window_bytes(), kChunkBytes, base_, 0);
  if (result != CUDA_SUCCESS) return result;
  if (given != base_) {
    driver_.cuMemAddressFree(given, device_window_bytes());
    return CUDA_ERROR_INVALID_VALUE;
  }
  reserved_ = true;
  return CUDA_SUCCESS;
}

CUresult DeviceMemory::map(std::uint64_t address, std::uint64_t bytes, Mapping& mapping) {
  if (fault_point("memory.map") != 0) return CUDA_ERROR_OUT_OF_MEMORY;
  if (limit_ != 0 && (mapped_ > limit_ || bytes > limit_ - mapped_)) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  CUmemAllocationProp property{};
  property.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  property.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  property.location.id = device_;
  CUresult result = driver_.cuMemCreate(&mapping.handle, bytes, &property, 0);
  if (result != CUDA_SUCCESS) return result;
  result = driver_.cuMemMap(address, bytes, 0, mapping.handle, 0);
  if (result != CUDA_SUCCESS) {
    driver_.cuMemRelease(mapping.handle);
    return result;
  }
  CUmemAccessDesc access{};
  access.location = property.location;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  result = driver_.cuMemSetAccess(address, bytes, &access, 1);
  if (result != CUDA_SUCCESS) {
    driver_.cuMemUnmap(address, bytes);
    driver_.cuMemRelease(mapping.handle);
    return result;
  }
  mapping.bytes = bytes;
  mapping.mapped = true;
  mapped_ += bytes;
  return CUDA_SUCCESS;
}

void DeviceMemory::unmap(std::uint64_t address, Mapping& mapping) {
  if (!mapping.mapped) return;
  // A handle is unmapped whole. In a context in error these fail; the process ends with it.
  driver_.cuMemUnmap(address, mapping.bytes);
  driver_.cuMemRelease(mapping.handle);
  mapping.mapped = false;
  mapped_ -= mapping.bytes;
}

CUresult DeviceMemory::take_granules(std::uint64_t address, std::uint64_t bytes) {
  Mapping mapping;
  const CUresult result = map(address, bytes, mapping);
  if (result != CUDA_SUCCESS) {
    window_.give(address, bytes);
    return result;
  }
  mappings_.emplace(address, mapping);
  return CUDA_SUCCESS;
}

void DeviceMemory::drop_granules(std::uint64_t address) {
  const auto found = mappings_.find(address);
  if (found == mappings_.end()) return;
  unmap(address, found->second);
  window_.give(address, found->second.bytes);
  mappings_.erase(found);
}

CUresult DeviceMemory::allocate_small(std::uint64_t bytes, std::uint64_t* address) {
  const std::uint64_t taken = round_up(bytes, kSubAllocAlign);
  for (auto& [base, slab] : slabs_) {
    if (const auto place = slab.free.take(taken, kSubAllocAlign)) {
      ++slab.live;
      *address = *place;
      return CUDA_SUCCESS;
    }
  }
  const auto base = window_.take(kChunkBytes, kChunkBytes);
  if (!base) return CUDA_ERROR_OUT_OF_MEMORY;
  const CUresult result = take_granules(*base, kChunkBytes);
  if (result != CUDA_SUCCESS) return result;
  Slab& slab = slabs_[*base];
  slab.free = RangeMap(*base, kChunkBytes);
  slab.live = 1;
  *address = *slab.free.take(taken, kSubAllocAlign);
  return CUDA_SUCCESS;
}

CUresult DeviceMemory::allocate_large(std::uint64_t bytes, std::uint64_t* address) {
  const std::uint64_t taken = round_up(bytes, kChunkBytes);
  if (taken < bytes || taken > device_window_bytes()) return CUDA_ERROR_OUT_OF_MEMORY;
  const auto place = window_.take(taken, kChunkBytes);
  if (!place) return CUDA_ERROR_OUT_OF_MEMORY;
  const CUresult result = take_granules(*place, taken);
  if (result == CUDA_SUCCESS) *address = *place;
  return result;
}

CUresult DeviceMemory::allocate(std::uint64_t bytes, Streams& streams, std::uint64_t* address) {
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (!retired_.empty()) reclaim(streams);
  const CUresult result =
      bytes <= kSmallBytes ? allocate_small(bytes, address) : allocate_large(bytes, address);
  if (result != CUDA_SUCCESS) return result;
  live_[*address] = Allocation{*address, bytes};
  used_ += bytes;
  return CUDA_SUCCESS;
}

CUresult DeviceMemory::allocate_at(std::uint64_t address, std::uint64_t bytes) {
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (bytes <= kSmallBytes) {
    const std::uint64_t base = granule_of(address);
    auto slab = slabs_.find(base);
    if (slab == slabs_.end()) {
      if (!window_.take_at(base, kChunkBytes)) return CUDA_ERROR_INVALID_VALUE;
      const CUresult result = take_granules(base, kChunkBytes);
      if (result != CUDA_SUCCESS) return result;
      slab = slabs_.emplace(base, Slab{RangeMap(base, kChunkBytes), 0}).first;
    }
    if (!slab->second.free.take_at(address, round_up(bytes, kSubAllocAlign))) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    ++slab->second.live;
  } else {
    const std::uint64_t taken = round_up(bytes, kChunkBytes);
    if (taken < bytes || address % kChunkBytes != 0 || !window_.take_at(address, taken)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const CUresult result = take_granules(address, taken);
    if (result != CUDA_SUCCESS) return result;
  }
  live_[address] = Allocation{address, bytes};
  used_ += bytes;
  return CUDA_SUCCESS;
}

CUresult DeviceMemory::retire(std::uint64_t address, Streams& streams) {
  const auto found = live_.find(address);
  if (found == live_.end()) return CUDA_ERROR_INVALID_VALUE;
  used_ -= found->second.bytes;
  retired_.push_back({address, found->second.bytes, streams.stamp()});
  live_.erase(found);
  return CUDA_SUCCESS;
}

bool DeviceMemory::reclaim(Streams& streams) {
  for (auto it = retired_.begin(); it != retired_.end();) {
    if (!streams.passed(it->stamp)) break;  // those behind it were retired later
    if (may_reuse_ && !may_reuse_({it->address, it->bytes})) {
      ++it;
      continue;
    }
    recycle(it->address, it->bytes);
    it = retired_.erase(it);
  }
  return retired_.empty();
}

void DeviceMemory::recycle(std::uint64_t address, std::uint64_t bytes) {
  if (bytes > kSmallBytes) {
    drop_granules(address);
    return;
  }
  const auto slab = slabs_.find(granule_of(address));
  if (slab == slabs_.end()) return;
  slab->second.free.give(address, round_up(bytes, kSubAllocAlign));
  if (--slab->second.live == 0) {
    drop_granules(slab->first);
    slabs_.erase(slab);
  }
}

const Allocation* DeviceMemory::find(std::uint64_t address) const noexcept {
  auto it = live_.upper_bound(address);
  if (it == live_.begin()) return nullptr;
  --it;
  return address - it->first < it->second.bytes ? &it->second : nullptr;
}

std::vector<Allocation> DeviceMemory::allocations() const {
  std::vector<Allocation> all;
  all.reserve(live_.size());
  for (const auto& [address, allocation] : live_) all.push_back(allocation);
  return all;
}

void add_granules(std::vector<MemoryRange>& ranges, const Allocation& allocation) {
  const std::uint64_t start = granule_of(allocation.address);
  const std::uint64_t end = round_up(allocation.address + allocation.bytes, kChunkBytes);
  if (!ranges.empty()) {
    MemoryRange& last = ranges.back();
    const std::uint64_t last_end = last.address + last.bytes;
    if (start <= last_end) {
      last.bytes = std::max(last_end, end) - last.address;
      return;
    }
  }
  ranges.push_back({start, end - start});
}

std::vector<MemoryRange> DeviceMemory::live_ranges() const {
  std::vector<MemoryRange> ranges;
  for (const auto& [address, allocation] : live_) add_granules(ranges, allocation);
  return ranges;
}

CUresult DeviceMemory::unmap_all() {
  hide_aliases();
  for (auto& [address, mapping] : mappings_) unmap(address, mapping);
  return CUDA_SUCCESS;
}

CUresult DeviceMemory::remap_all() {
  for (auto& [address, mapping] : mappings_) {
    if (mapping.mapped) continue;
    const CUresult result = map(address, mapping.bytes, mapping);
    if (result != CUDA_SUCCESS) {
      unmap_all();
      return result;
    }
  }
  const CUresult result = show_aliases();
  if (result != CUDA_SUCCESS) unmap_all();
  return result;
}

void DeviceMemory::release_all() {
  unmap_all();
  aliases_.clear();
  reservations_.clear();
  mappings_.clear();
  slabs_.clear();
  live_.clear();
  retired_.clear();
  used_ = 0;
  window_ = RangeMap(base_, device_window_bytes());
}

}  // namespace phos::executor
