// SPDX-License-Identifier: Apache-2.0
#include "executor/shadow_memory.h"

#include "executor/fault.h"
#include "phos/address_window.h"

namespace phos::executor {

namespace {

// What is left to the program: a 32nd of the free memory, at most 1 GiB.
constexpr std::uint64_t kLeftShare = 32;
constexpr std::uint64_t kMostLeft = std::uint64_t{1} << 30;

}  // namespace

CUresult ShadowMemory::take(std::uint64_t bytes) {
  free();
  bytes = (bytes + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
  if (bytes == 0) return CUDA_SUCCESS;
  if (fault_point("shadow.take") != 0) return CUDA_ERROR_OUT_OF_MEMORY;
  CUmemAllocationProp property{};
  property.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  property.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  property.location.id = device_;
  CUresult result = driver_.cuMemCreate(&handle_, bytes, &property, 0);
  if (result != CUDA_SUCCESS) return result;
  CUdeviceptr address = 0;
  result = driver_.cuMemAddressReserve(&address, bytes, kChunkBytes, 0, 0);
  if (result != CUDA_SUCCESS) {
    driver_.cuMemRelease(handle_);
    return result;
  }
  result = driver_.cuMemMap(address, bytes, 0, handle_, 0);
  if (result == CUDA_SUCCESS) {
    CUmemAccessDesc access{};
    access.location = property.location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    result = driver_.cuMemSetAccess(address, bytes, &access, 1);
    if (result != CUDA_SUCCESS) driver_.cuMemUnmap(address, bytes);
  }
  if (result != CUDA_SUCCESS) {
    driver_.cuMemRelease(handle_);
    driver_.cuMemAddressFree(address, bytes);
    return result;
  }
  address_ = address;
  bytes_ = bytes;
  return CUDA_SUCCESS;
}

void ShadowMemory::free() noexcept {
  if (bytes_ == 0) return;
  // In a context in error these fail; the process ends with it.
  driver_.cuMemUnmap(address_, bytes_);
  driver_.cuMemRelease(handle_);
  driver_.cuMemAddressFree(address_, bytes_);
  address_ = 0;
  bytes_ = 0;
}

std::uint64_t borrowable_bytes(const DriverTable& driver) noexcept {
  std::size_t free = 0;
  std::size_t total = 0;
  if (driver.cuMemGetInfo(&free, &total) != CUDA_SUCCESS) return 0;
  const std::uint64_t left = free / kLeftShare < kMostLeft ? free / kLeftShare : kMostLeft;
  return free - left;
}

}  // namespace phos::executor
