// SPDX-License-Identifier: Apache-2.0
#include "phos/address_window.h"
#include "sim_fixture.h"

namespace phos::sim::test {
namespace {

constexpr std::size_t kChunk = kChunkBytes;

class Vmm : public SimTest {
 protected:
  CUmemGenericAllocationHandle create(std::size_t bytes) {
    CUmemAllocationProp properties{};
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
    CUmemGenericAllocationHandle handle = 0;
    EXPECT_CUDA(cuMemCreate(&handle, bytes, &properties, 0));
    return handle;
  }
  CUresult access(CUdeviceptr base, std::size_t bytes, CUmemAccess_flags flags) {
    CUmemAccessDesc description{};
    description.location = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
    description.flags = flags;
    return cuda().cuMemSetAccess(base, bytes, &description, 1);
  }
  CUdeviceptr reserve(std::size_t bytes, CUdeviceptr wish = 0) {
    CUdeviceptr base = 0;
    EXPECT_CUDA(cuMemAddressReserve(&base, bytes, 0, wish, 0));
    return base;
  }
};

TEST_F(Vmm, ReservesExactlyWhereAsked) {
  for (const CUdeviceptr wish : {CUdeviceptr{kDeviceWindowBase}, CUdeviceptr{0x100000000000},
                                 CUdeviceptr{0x500000000000}, CUdeviceptr{0xa00000000},
                                 CUdeviceptr{0x7e0000000000}}) {
    const CUdeviceptr base = reserve(kDeviceWindowBytes / 2, wish);
    EXPECT_EQ(base, wish);
    EXPECT_CUDA(cuMemAddressFree(base, kDeviceWindowBytes / 2));
  }
  const CUdeviceptr first = reserve(kChunk, kDeviceWindowBase);
  const CUdeviceptr second = reserve(kChunk, kDeviceWindowBase);  // taken: somewhere else
  EXPECT_NE(first, second);
  CUdeviceptr base = 0;
  EXPECT_ERROR(cuMemAddressReserve(&base, 1000, 0, 0, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuMemAddressFree(first, 2 * kChunk), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(cuMemAddressFree(first, kChunk));
  EXPECT_CUDA(cuMemAddressFree(second, kChunk));
}

TEST_F(Vmm, MapsSeveralHandlesIntoOneRange) {
  const CUdeviceptr base = reserve(4 * kChunk, kDeviceWindowBase);
  const auto small = create(kChunk);
  const auto large = create(2 * kChunk);
  ASSERT_CUDA(cuMemMap(base, kChunk, 0, small, 0));
  ASSERT_CUDA(cuMemMap(base + kChunk, 2 * kChunk, 0, large, 0));
  EXPECT_ERROR(cuMemMap(base + kChunk, kChunk, 0, small, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuMemMap(base + 3 * kChunk, kChunk, 2 * kChunk, large, 0),
               CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuMemsetD8(base, 0, 1), CUDA_ERROR_INVALID_VALUE);  // no access yet
  ASSERT_EQ(access(base, 3 * kChunk, CU_MEM_ACCESS_FLAGS_PROT_READWRITE), CUDA_SUCCESS);
  EXPECT_NE(access(base, 4 * kChunk, CU_MEM_ACCESS_FLAGS_PROT_READWRITE), CUDA_SUCCESS);
  // A copy may cross from one mapping into the next.
  std::vector<std::uint8_t> values(kChunk, 0xA5);
  ASSERT_CUDA(cuMemcpyHtoD(base + kChunk / 2, values.data(), values.size()));
  EXPECT_EQ(download<std::uint8_t>(base + kChunk / 2, kChunk), values);
  EXPECT_ERROR(cuMemUnmap(base, kChunk / 2), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuMemUnmap(base + 2 * kChunk, kChunk), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuMemAddressFree(base, 4 * kChunk), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(cuMemUnmap(base, 3 * kChunk));
  EXPECT_CUDA(cuMemRelease(small));
  EXPECT_CUDA(cuMemRelease(large));
  EXPECT_ERROR(cuMemRelease(large), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(cuMemAddressFree(base, 4 * kChunk));
}

TEST_F(Vmm, KeepsBytesWhileSomethingRefersToThem) {
  const CUdeviceptr base = reserve(2 * kChunk, kDeviceWindowBase);
  const auto handle = create(kChunk);
  ASSERT_CUDA(cuMemMap(base, kChunk, 0, handle, 0));
  ASSERT_EQ(access(base, kChunk, CU_MEM_ACCESS_FLAGS_PROT_READWRITE), CUDA_SUCCESS);
  ASSERT_CUDA(cuMemsetD8(base, 9, kChunk));
  ASSERT_CUDA(cuCtxSynchronize(nullptr));
  ASSERT_CUDA(cuMemUnmap(base, kChunk));
  // The same memory comes back at another address.
  ASSERT_CUDA(cuMemMap(base + kChunk, kChunk, 0, handle, 0));
  ASSERT_EQ(access(base + kChunk, kChunk, CU_MEM_ACCESS_FLAGS_PROT_READ), CUDA_SUCCESS);
  EXPECT_EQ(download<std::uint8_t>(base + 2 * kChunk - 1, 1)[0], 9);
  ASSERT_CUDA(cuMemRelease(handle));
  EXPECT_EQ(download<std::uint8_t>(base + kChunk, 1)[0], 9);
  std::size_t before = 0;
  std::size_t after = 0;
  ASSERT_CUDA(cuMemGetInfo(&before, nullptr));
  ASSERT_CUDA(cuMemUnmap(base + kChunk, kChunk));
  ASSERT_CUDA(cuMemGetInfo(&after, nullptr));
  EXPECT_EQ(after - before, kChunk);
  EXPECT_CUDA(cuMemAddressFree(base, 2 * kChunk));
}

TEST_F(Vmm, AnswersWhatIsMapped) {
  const CUdeviceptr base = reserve(kChunk);
  const auto handle = create(kChunk);
  ASSERT_CUDA(cuMemMap(base, kChunk, 0, handle, 0));
  unsigned long long flags = 77;
  const CUmemLocation location{CU_MEM_LOCATION_TYPE_DEVICE, {0}};
  ASSERT_CUDA(cuMemGetAccess(&flags, &location, base));
  EXPECT_EQ(flags, 0U);
  ASSERT_EQ(access(base, kChunk, CU_MEM_ACCESS_FLAGS_PROT_READ), CUDA_SUCCESS);
  ASSERT_CUDA(cuMemGetAccess(&flags, &location, base));
  EXPECT_EQ(flags, static_cast<unsigned long long>(CU_MEM_ACCESS_FLAGS_PROT_READ));
  CUmemGenericAllocationHandle found = 0;
  ASSERT_CUDA(cuMemRetainAllocationHandle(&found, reinterpret_cast<void*>(base + 5)));
  EXPECT_EQ(found, handle);
  EXPECT_CUDA(cuMemRelease(found));
  std::size_t granularity = 0;
  CUmemAllocationProp properties{};
  ASSERT_CUDA(cuMemGetAllocationPropertiesFromHandle(&properties, handle));
  ASSERT_CUDA(cuMemGetAllocationGranularity(&granularity, &properties,
                                            CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  EXPECT_EQ(granularity, kChunk);
  EXPECT_CUDA(cuMemUnmap(base, kChunk));
  EXPECT_CUDA(cuMemRelease(handle));
  EXPECT_CUDA(cuMemAddressFree(base, kChunk));
}

TEST_F(Vmm, IsHonestAboutMemory) {
  std::size_t free = 0;
  ASSERT_CUDA(cuMemGetInfo(&free, nullptr));
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
  CUmemGenericAllocationHandle handle = 0;
  const std::size_t too_much = (free / kChunk + 1) * kChunk;
  EXPECT_ERROR(cuMemCreate(&handle, too_much, &properties, 0), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_ERROR(cuMemCreate(&handle, 4096, &properties, 0), CUDA_ERROR_INVALID_VALUE);
  properties.location.id = 99;
  EXPECT_ERROR(cuMemCreate(&handle, kChunk, &properties, 0), CUDA_ERROR_INVALID_DEVICE);
}

}  // namespace
}  // namespace phos::sim::test
