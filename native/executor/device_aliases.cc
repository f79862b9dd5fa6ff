// SPDX-License-Identifier: Apache-2.0
// What programs reserve in the window and map there: further views of memory that is allocated
// elsewhere in it.
#include <algorithm>

#include "executor/device_memory.h"
#include "executor/window.h"

namespace phos::executor {

CUresult DeviceMemory::reserve_range(const RangeWish& wish, std::uint64_t* address) {
  if (wish.bytes == 0 || wish.bytes % kChunkBytes != 0 ||
      wish.bytes > device_window_bytes() || (wish.alignment & (wish.alignment - 1)) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto take_at = [&](std::uint64_t at) {
    return at % kChunkBytes == 0 && at >= base_ && at - base_ < device_window_bytes() &&
           wish.bytes <= device_window_bytes() - (at - base_) && window_.take_at(at, wish.bytes);
  };
  if (wish.exact != 0) {
    if (!take_at(wish.exact)) return CUDA_ERROR_INVALID_VALUE;
    *address = wish.exact;
  } else if (wish.address != 0 && take_at(wish.address)) {
    *address = wish.address;
  } else {
    const std::uint64_t alignment = std::max(wish.alignment, std::uint64_t{kChunkBytes});
    const auto found = window_.take(wish.bytes, alignment);
    if (!found) return CUDA_ERROR_OUT_OF_MEMORY;
    *address = *found;
  }
  reservations_[*address] = wish.bytes;
  return CUDA_SUCCESS;
}

CUresult DeviceMemory::free_range(std::uint64_t address) {
  const auto found = reservations_.find(address);
  if (found == reservations_.end()) return CUDA_ERROR_INVALID_VALUE;
  const auto inside = aliases_.lower_bound(address);
  if (inside != aliases_.end() && inside->first - address < found->second) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  window_.give(address, found->second);
  reservations_.erase(found);
  return CUDA_SUCCESS;
}

CUresult DeviceMemory::map_alias(std::uint64_t address, const Alias& alias) {
  const auto home = mappings_.find(alias.home);
  auto reserved = reservations_.upper_bound(address);
  if (home == mappings_.end() || !home->second.mapped || reserved == reservations_.begin() ||
      alias.offset > home->second.bytes || alias.bytes > home->second.bytes - alias.offset) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  --reserved;
  const std::uint64_t offset = address - reserved->first;
  if (offset > reserved->second || alias.bytes > reserved->second - offset) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const CUresult result =
      driver_.cuMemMap(address, alias.bytes, alias.offset, home->second.handle, 0);
  if (result == CUDA_SUCCESS) aliases_[address] = alias;
  return result;
}

CUresult DeviceMemory::grant_alias(std::uint64_t address, const Alias& alias) {
  CUmemAccessDesc access{};
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.location.id = device_;
  access.flags = static_cast<CUmemAccess_flags>(alias.access);
  return driver_.cuMemSetAccess(address, alias.bytes, &access, 1);
}

CUresult DeviceMemory::set_alias_access(std::uint64_t address, std::uint32_t flags) {
  const auto found = aliases_.find(address);
  if (found == aliases_.end()) return CUDA_ERROR_INVALID_VALUE;
  Alias changed = found->second;
  changed.access = flags;
  const CUresult result = grant_alias(address, changed);
  if (result == CUDA_SUCCESS) found->second = changed;
  return result;
}

CUresult DeviceMemory::unmap_alias(std::uint64_t address) {
  const auto found = aliases_.find(address);
  if (found == aliases_.end()) return CUDA_ERROR_INVALID_VALUE;
  const CUresult result = driver_.cuMemUnmap(address, found->second.bytes);
  if (result == CUDA_SUCCESS) aliases_.erase(found);
  return result;
}

void DeviceMemory::hide_aliases() {
  // In a context in error these fail; the process ends with it.
  for (const auto& [address, alias] : aliases_) driver_.cuMemUnmap(address, alias.bytes);
}

CUresult DeviceMemory::show_aliases() {
  for (const auto& [address, alias] : aliases_) {
    const auto home = mappings_.find(alias.home);
    if (home == mappings_.end()) return CUDA_ERROR_INVALID_VALUE;
    CUresult result =
        driver_.cuMemMap(address, alias.bytes, alias.offset, home->second.handle, 0);
    if (result == CUDA_SUCCESS && alias.access != 0) result = grant_alias(address, alias);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

}  // namespace phos::executor
