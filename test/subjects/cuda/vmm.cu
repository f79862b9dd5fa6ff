// SPDX-License-Identifier: Apache-2.0
// Virtual memory management: reserve, create, map, grant, grow, alias, unmap.
#include "judge.h"

#include <cuda.h>

namespace {

__global__ void fill(int* data, int value) { data[blockIdx.x * blockDim.x + threadIdx.x] = value; }
__global__ void add(int* data, int value) { data[blockIdx.x * blockDim.x + threadIdx.x] += value; }

CUmemAllocationProp on_device() {
  CUmemAllocationProp prop{};
  prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  prop.location.id = 0;
  return prop;
}

size_t granularity() {
  size_t bytes = 0;
  const CUmemAllocationProp prop = on_device();
  DRV(cuMemGetAllocationGranularity(&bytes, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  CHECK(bytes != 0 && (bytes & (bytes - 1)) == 0);
  return bytes;
}

void grant(CUdeviceptr at, size_t bytes) {
  CUmemAccessDesc access{};
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.location.id = 0;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  DRV(cuMemSetAccess(at, bytes, &access, 1));
}

int word_at(CUdeviceptr at) {
  int value = 0;
  DRV(cuMemcpyDtoH(&value, at, sizeof(value)));
  return value;
}

}  // namespace

TEST(vmm_map_and_use) {
  OK(cudaFree(nullptr));
  const size_t bytes = granularity();
  const CUmemAllocationProp prop = on_device();
  CUmemGenericAllocationHandle handle = 0;
  CUdeviceptr at = 0;
  DRV(cuMemCreate(&handle, bytes, &prop, 0));
  DRV(cuMemAddressReserve(&at, bytes, 0, 0, 0));
  DRV(cuMemMap(at, bytes, 0, handle, 0));
  grant(at, bytes);
  unsigned long long flags = 0;
  CUmemLocation here{};
  here.type = CU_MEM_LOCATION_TYPE_DEVICE;
  DRV(cuMemGetAccess(&flags, &here, at));
  CHECK(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  fill<<<4, 256>>>(reinterpret_cast<int*>(at), 42);
  CHECK(word_at(at) == 42 && word_at(at + 1023 * 4) == 42);
  DRV(cuMemsetD32(at, 5, 100));
  CHECK(word_at(at + 396) == 5 && word_at(at + 400) == 42);
  CUmemAllocationProp back{};
  DRV(cuMemGetAllocationPropertiesFromHandle(&back, handle));
  CHECK(back.type == prop.type && back.location.id == 0);
  DRV(cuMemRelease(handle));
  CHECK(word_at(at) == 5);
  DRV(cuMemUnmap(at, bytes));
  DRV(cuMemAddressFree(at, bytes));
}

TEST(vmm_grow_in_place) {
  const size_t piece = granularity();
  const CUmemAllocationProp prop = on_device();
  CUdeviceptr at = 0;
  DRV(cuMemAddressReserve(&at, 8 * piece, 0, 0, 0));
  CUmemGenericAllocationHandle handles[4];
  for (unsigned i = 0; i < 4; ++i) {
    DRV(cuMemCreate(&handles[i], piece, &prop, 0));
    DRV(cuMemMap(at + i * piece, piece, 0, handles[i], 0));
    grant(at + i * piece, piece);
    fill<<<1, 32>>>(reinterpret_cast<int*>(at + i * piece), static_cast<int>(i) + 1);
  }
  int host[3];
  DRV(cuMemcpyDtoH(host, at + piece - 4, 8));
  CHECK(host[1] == 2);
  for (unsigned i = 0; i < 4; ++i) CHECK_AT(i, word_at(at + i * piece) == static_cast<int>(i) + 1);
  DRV(cuMemUnmap(at, 4 * piece));
  for (const auto handle : handles) DRV(cuMemRelease(handle));
  DRV(cuMemAddressFree(at, 8 * piece));
}

TEST(vmm_remap_keeps_the_content) {
  const size_t piece = granularity();
  const CUmemAllocationProp prop = on_device();
  CUdeviceptr first = 0, second = 0;
  CUmemGenericAllocationHandle handle = 0;
  DRV(cuMemCreate(&handle, piece, &prop, 0));
  DRV(cuMemAddressReserve(&first, piece, 0, 0, 0));
  DRV(cuMemAddressReserve(&second, piece, 0, 0, 0));
  CHECK(first != second);
  DRV(cuMemMap(first, piece, 0, handle, 0));
  grant(first, piece);
  fill<<<1, 32>>>(reinterpret_cast<int*>(first), 77);
  DRV(cuCtxSynchronize());
  DRV(cuMemUnmap(first, piece));
  DRV(cuMemMap(second, piece, 0, handle, 0));
  grant(second, piece);
  CHECK(word_at(second) == 77);
  DRV(cuMemUnmap(second, piece));
  DRV(cuMemRelease(handle));
  DRV(cuMemAddressFree(first, piece));
  DRV(cuMemAddressFree(second, piece));
}

TEST(vmm_two_mappings_of_one_allocation) {
  const size_t piece = granularity();
  const CUmemAllocationProp prop = on_device();
  CUdeviceptr at = 0;
  CUmemGenericAllocationHandle handle = 0;
  DRV(cuMemCreate(&handle, piece, &prop, 0));
  DRV(cuMemAddressReserve(&at, 2 * piece, 0, 0, 0));
  DRV(cuMemMap(at, piece, 0, handle, 0));
  DRV(cuMemMap(at + piece, piece, 0, handle, 0));
  grant(at, 2 * piece);
  fill<<<1, 32>>>(reinterpret_cast<int*>(at), 5);
  add<<<1, 32>>>(reinterpret_cast<int*>(at + piece), 6);
  CHECK(word_at(at) == 11);
  DRV(cuMemUnmap(at, 2 * piece));
  DRV(cuMemRelease(handle));
  DRV(cuMemAddressFree(at, 2 * piece));
}

TEST(vmm_wrong_calls) {
  const size_t piece = granularity();
  const CUmemAllocationProp prop = on_device();
  CUmemGenericAllocationHandle handle = 0;
  CUdeviceptr at = 0;
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemCreate(&handle, piece / 2 + 1, &prop, 0));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAddressReserve(&at, piece + 1, 0, 0, 0));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemUnmap(0x1000, piece));
  DRV(cuMemCreate(&handle, piece, &prop, 0));
  DRV(cuMemAddressReserve(&at, piece, 0, 0, 0));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemMap(at + piece, piece, 0, handle, 0));
  DRV(cuMemMap(at, piece, 0, handle, 0));
  CHECK(cuMemMap(at, piece, 0, handle, 0) != CUDA_SUCCESS);
  CHECK(cuMemAddressFree(at, piece) != CUDA_SUCCESS);
  DRV(cuMemUnmap(at, piece));
  DRV(cuMemRelease(handle));
  CHECK(cuMemRelease(handle) != CUDA_SUCCESS);
  DRV(cuMemAddressFree(at, piece));
}

TEST(vmm_retain_by_address) {
  const size_t piece = granularity();
  const CUmemAllocationProp prop = on_device();
  CUmemGenericAllocationHandle handle = 0, again = 0;
  CUdeviceptr at = 0, base = 0;
  size_t size = 0;
  DRV(cuMemCreate(&handle, piece, &prop, 0));
  DRV(cuMemAddressReserve(&at, piece, 0, 0, 0));
  DRV(cuMemMap(at, piece, 0, handle, 0));
  grant(at, piece);
  DRV(cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(at + 64)));
  CHECK(again == handle);
  DRV(cuMemRelease(handle));
  DRV(cuMemRelease(again));
  DRV(cuMemGetAddressRange(&base, &size, at + 100));
  CHECK(base == at && size == piece);
  unsigned type = 0;
  DRV(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at));
  CHECK(type == CU_MEMORYTYPE_DEVICE);
  DRV(cuMemUnmap(at, piece));
  DRV(cuMemAddressFree(at, piece));
}
