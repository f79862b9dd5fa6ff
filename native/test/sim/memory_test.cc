// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include <numeric>

#include "sim_fixture.h"

namespace phos::sim::test {
namespace {

class Memory : public SimTest {};

std::vector<std::uint8_t> pattern(std::size_t bytes, unsigned start = 1) {
  std::vector<std::uint8_t> values(bytes);
  std::iota(values.begin(), values.end(), static_cast<std::uint8_t>(start));
  return values;
}

TEST_F(Memory, CopiesThereAndBack) {
  for (const std::size_t bytes : {1UL, 511UL, 4096UL, 65536UL, 3UL << 20}) {
    const auto values = pattern(bytes);
    const CUdeviceptr address = upload(values);
    EXPECT_EQ(address % 512, 0U);
    EXPECT_EQ(download<std::uint8_t>(address, bytes), values);
    EXPECT_CUDA(cuMemFree(address));
  }
}

TEST_F(Memory, RefusesWhatIsNotMapped) {
  const CUdeviceptr address = allocate(1000);
  std::uint8_t byte = 0;
  std::vector<std::uint8_t> buffer(2000);
  EXPECT_ERROR(cuMemcpyHtoD(address, buffer.data(), 1001), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuMemcpyDtoH(buffer.data(), address + 999, 2), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(cuMemcpyDtoH(&byte, address + 999, 1));
  EXPECT_ERROR(cuMemsetD8(address + 1000, 0, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuMemcpyDtoH(&byte, 0x1234, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuMemFree(address + 8), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(cuMemFree(address));
  EXPECT_ERROR(cuMemFree(address), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(cuMemFree(0));
}

TEST_F(Memory, CountsWhatIsFree) {
  std::size_t before = 0;
  std::size_t total = 0;
  ASSERT_CUDA(cuMemGetInfo(&before, &total));
  CUdeviceptr address = 0;
  EXPECT_ERROR(cuMemAlloc(&address, total + 1), CUDA_ERROR_OUT_OF_MEMORY);
  address = allocate(64U << 20);
  std::size_t after = 0;
  ASSERT_CUDA(cuMemGetInfo(&after, nullptr));
  EXPECT_EQ(before - after, 64U << 20);
  EXPECT_CUDA(cuMemFree(address));
  ASSERT_CUDA(cuMemGetInfo(&after, nullptr));
  EXPECT_EQ(after, before);
}

TEST_F(Memory, FillsElementsOfEverySize) {
  const CUdeviceptr address = allocate(4096);
  ASSERT_CUDA(cuMemsetD8(address, 0, 4096));
  ASSERT_CUDA(cuMemsetD16(address + 2, 0xABCD, 3));
  ASSERT_CUDA(cuMemsetD32(address + 16, 0x01020304, 2));
  ASSERT_CUDA(cuMemsetD2D8(address + 64, 32, 7, 3, 2));
  const auto bytes = download<std::uint8_t>(address, 128);
  EXPECT_EQ(bytes[1], 0);
  EXPECT_EQ(bytes[2], 0xCD);
  EXPECT_EQ(bytes[7], 0xAB);
  EXPECT_EQ(bytes[8], 0);
  EXPECT_EQ(bytes[16], 4);
  EXPECT_EQ(bytes[23], 1);
  EXPECT_EQ(bytes[66], 7);
  EXPECT_EQ(bytes[67], 0);
  EXPECT_EQ(bytes[96 + 2], 7);
  EXPECT_ERROR(cuMemsetD32(address + 2, 0, 1), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Memory, CopiesBoxes) {
  const std::size_t pitch = 64;
  const std::size_t height = 5;
  const auto source = pattern(pitch * height * 3);
  const CUdeviceptr device = allocate(pitch * height * 3);
  ASSERT_CUDA(cuMemsetD8(device, 0, pitch * height * 3));
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = source.data();
  copy.srcPitch = pitch;
  copy.srcHeight = height;
  copy.srcXInBytes = 3;
  copy.srcY = 1;
  copy.srcZ = 1;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = device;
  copy.dstPitch = pitch;
  copy.dstHeight = height;
  copy.dstXInBytes = 8;
  copy.WidthInBytes = 10;
  copy.Height = 3;
  copy.Depth = 2;
  ASSERT_CUDA(cuMemcpy3D(&copy));
  const auto bytes = download<std::uint8_t>(device, pitch * height * 3);
  for (std::size_t z = 0; z < 2; ++z) {
    for (std::size_t y = 0; y < 3; ++y) {
      for (std::size_t x = 0; x < 10; ++x) {
        ASSERT_EQ(bytes[(z * height + y) * pitch + x + 8],
                  source[((z + 1) * height + y + 1) * pitch + x + 3]);
      }
    }
  }
  EXPECT_EQ(bytes[7], 0);
  EXPECT_EQ(bytes[18], 0);
  copy.Depth = 4;
  EXPECT_ERROR(cuMemcpy3D(&copy), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Memory, CopiesIntoArraysAndBack) {
  CUDA_ARRAY3D_DESCRIPTOR description{8, 4, 2, CU_AD_FORMAT_FLOAT, 2, 0};
  CUarray array = nullptr;
  ASSERT_CUDA(cuArray3DCreate(&array, &description));
  const auto source = pattern(64 * 4 * 2);
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = source.data();
  copy.srcPitch = 64;
  copy.srcHeight = 4;
  copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.dstArray = array;
  copy.WidthInBytes = 64;
  copy.Height = 4;
  copy.Depth = 2;
  ASSERT_CUDA(cuMemcpy3D(&copy));
  std::vector<std::uint8_t> row(24);
  ASSERT_CUDA(cuMemcpyAtoH(row.data(), array, 40, 24));
  EXPECT_TRUE(std::equal(row.begin(), row.end(), source.begin() + 40));
  EXPECT_ERROR(cuMemcpyAtoH(row.data(), array, 48, 24), CUDA_ERROR_INVALID_VALUE);
  copy.Depth = 3;
  EXPECT_ERROR(cuMemcpy3D(&copy), CUDA_ERROR_INVALID_VALUE);
  CUDA_ARRAY3D_DESCRIPTOR read{};
  ASSERT_CUDA(cuArray3DGetDescriptor(&read, array));
  EXPECT_EQ(read.Height, 4U);
  ASSERT_CUDA(cuArrayDestroy(array));
  EXPECT_ERROR(cuArrayDestroy(array), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(Memory, KnowsItsPointers) {
  const CUdeviceptr address = allocate(1000);
  void* host = pinned<char>(100);
  unsigned type = 0;
  ASSERT_CUDA(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address + 10));
  EXPECT_EQ(type, static_cast<unsigned>(CU_MEMORYTYPE_DEVICE));
  ASSERT_CUDA(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                    reinterpret_cast<CUdeviceptr>(host)));
  EXPECT_EQ(type, static_cast<unsigned>(CU_MEMORYTYPE_HOST));
  CUdeviceptr base = 0;
  std::size_t bytes = 0;
  ASSERT_CUDA(cuMemGetAddressRange(&base, &bytes, address + 999));
  EXPECT_EQ(base, address);
  EXPECT_EQ(bytes, 1000U);
  EXPECT_ERROR(cuMemGetAddressRange(&base, &bytes, address + 1000), CUDA_ERROR_NOT_FOUND);
  int local = 0;
  EXPECT_ERROR(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                     reinterpret_cast<CUdeviceptr>(&local)),
               CUDA_ERROR_INVALID_VALUE);
  int ordinal = 7;
  CUpointer_attribute wanted[] = {CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
  void* data[] = {&ordinal};
  ASSERT_CUDA(
      cuPointerGetAttributes(1, wanted, data, reinterpret_cast<CUdeviceptr>(&local)));
  EXPECT_EQ(ordinal, -2);
}

TEST_F(Memory, ReachesRegisteredHostMemory) {
  void* shared = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  EXPECT_ERROR(cuMemHostUnregister(shared), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  ASSERT_CUDA(cuMemHostRegister(shared, 8192, 0));
  EXPECT_ERROR(cuMemHostRegister(shared, 4096, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  EXPECT_EQ(device_address(shared), reinterpret_cast<CUdeviceptr>(shared));
  ASSERT_CUDA(cuMemsetD8(device_address(shared), 0x5A, 8192));
  ASSERT_CUDA(cuCtxSynchronize(nullptr));
  EXPECT_EQ(static_cast<unsigned char*>(shared)[8191], 0x5A);
  EXPECT_CUDA(cuMemHostUnregister(shared));
  munmap(shared, 8192);
  EXPECT_ERROR(cuMemHostRegister(shared, 8192, 0), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Memory, FreesInStreamOrder) {
  CUstream stream = nullptr;
  ASSERT_CUDA(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  auto* gate = pinned<std::uint32_t>(1);
  auto* result = pinned<std::uint32_t>(4);
  ASSERT_CUDA(cuStreamWaitValue32(stream, device_address(gate), 1, CU_STREAM_WAIT_VALUE_EQ));
  CUdeviceptr address = 0;
  ASSERT_CUDA(cuMemAllocAsync(&address, 16, stream));
  ASSERT_CUDA(cuMemsetD32Async(address, 77, 4, stream));
  ASSERT_CUDA(cuMemcpyDtoHAsync(result, address, 16, stream));
  ASSERT_CUDA(cuMemFreeAsync(address, stream));
  EXPECT_ERROR(cuMemFreeAsync(address, stream), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
  __atomic_store_n(gate, 1U, __ATOMIC_RELEASE);
  ASSERT_CUDA(cuStreamSynchronize(stream));
  EXPECT_EQ(result[3], 77U);
  EXPECT_ERROR(cuMemFree(address), CUDA_ERROR_INVALID_VALUE);
  CUmemoryPool pool = nullptr;
  ASSERT_CUDA(cuDeviceGetDefaultMemPool(&pool, 0));
  cuuint64_t used = 1;
  ASSERT_CUDA(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
  EXPECT_EQ(used, 0U);
}

}  // namespace
}  // namespace phos::sim::test
