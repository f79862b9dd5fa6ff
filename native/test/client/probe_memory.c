/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, copies, pointer attributes. */
#include <string.h>

#include "probe.h"

static void fill(unsigned char *bytes, size_t size, unsigned seed) {
  for (size_t i = 0; i < size; ++i) bytes[i] = (unsigned char)(i * 31 + seed + (i >> 8));
}

void test_memory(void) {
  CUdeviceptr memory = 0;
  CUdeviceptr base = 0;
  size_t size = 0;
  size_t pitch = 0;
  unsigned type = 0;
  int ordinal = 7;
  begin();
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemAlloc(&memory, 0));
  EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(&memory, (size_t)1 << 45));
  OK(cuMemAlloc(&memory, 12345));
  OK(cuMemGetAddressRange(&base, &size, memory + 100));
  CHECK(base == memory && size == 12345);
  OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory));
  CHECK(type == CU_MEMORYTYPE_DEVICE);
  OK(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, memory + 12344));
  CHECK(ordinal == 0);
  const CUdeviceptr unknown = (CUdeviceptr)(size_t)&size;
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, unknown));
  OK(cuMemFree(memory));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree(memory));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree(memory + 4));
  OK(cuMemFree(0));
  OK(cuMemAllocPitch(&memory, &pitch, 1000, 10, 4));
  CHECK(pitch >= 1000 && pitch % 512 == 0);
  OK(cuMemFree(memory));
  size_t free_bytes = 0;
  OK(cuMemGetInfo(&free_bytes, &size));
  CHECK(free_bytes <= size && size > 0);
}

static void round_trip(size_t size, int pinned, CUstream stream) {
  unsigned char *out = NULL;
  unsigned char *in = NULL;
  CUdeviceptr memory = 0;
  if (pinned) {
    OK(cuMemHostAlloc((void **)&out, size, 0));
    OK(cuMemAllocHost((void **)&in, size));
  } else {
    out = malloc(size);
    in = malloc(size);
  }
  fill(out, size, (unsigned)size);
  memset(in, 0, size);
  OK(cuMemAlloc(&memory, size));
  OK(cuMemcpyHtoDAsync(memory, out, size, stream));
  OK(cuMemcpyDtoHAsync(in, memory, size, stream));
  OK(cuStreamSynchronize(stream));
  CHECK(memcmp(in, out, size) == 0);
  fill(out, size, 77);
  OK(cuMemcpyHtoD(memory, out, size));
  OK(cuMemcpyDtoH(in, memory, size));
  CHECK(memcmp(in, out, size) == 0);
  OK(cuMemFree(memory));
  if (pinned) {
    OK(cuMemFreeHost(in));
    OK(cuMemFreeHost(out));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(out));
  } else {
    free(in);
    free(out);
  }
}

void test_copies(void) {
  static const size_t sizes[] = {1,     100,        2048,         2049,      16384,
                                 16385, 1048576,    1048577,      3333333,   45000000};
  CUstream stream = NULL;
  CUdeviceptr memory = 0;
  CUdeviceptr other = 0;
  unsigned char bytes[64];
  begin();
  OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
    for (int pinned = 0; pinned < 2; ++pinned) round_trip(sizes[i], pinned, stream);
  }
  OK(cuMemAlloc(&memory, 4096));
  OK(cuMemAlloc(&other, 4096));
  OK(cuMemsetD8(memory, 0xAB, 4096));
  OK(cuMemsetD32(memory + 16, 0x01020304, 2));
  OK(cuMemcpyDtoD(other, memory, 4096));
  OK(cuMemcpyDtoH(bytes, other, sizeof(bytes)));
  CHECK(bytes[15] == 0xAB && bytes[16] == 4 && bytes[19] == 1 && bytes[23] == 1);
  CHECK(bytes[24] == 0xAB);
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(memory, bytes, 5000));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD(12345, bytes, 4));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoD(memory, other, 4097));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD32(memory + 1, 0, 1));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemsetD8(memory, 0, 4097));
  OK(cuMemcpy((CUdeviceptr)(size_t)bytes, memory, sizeof(bytes)));
  CHECK(bytes[0] == 0xAB);
}

void test_shapes(void) {
  enum { kWidth = 700, kRows = 1900, kPitch = 1024 };
  static unsigned char out[kRows][kPitch];
  static unsigned char in[kRows][kPitch];
  CUdeviceptr memory = 0;
  size_t pitch = 0;
  begin();
  fill(&out[0][0], sizeof(out), 5);
  OK(cuMemAllocPitch(&memory, &pitch, kWidth, kRows, 4));
  CUDA_MEMCPY2D copy;
  memset(&copy, 0, sizeof(copy));
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = out;
  copy.srcPitch = kPitch;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = memory;
  copy.dstPitch = pitch;
  copy.WidthInBytes = kWidth;
  copy.Height = kRows;
  OK(cuMemcpy2D(&copy));
  memset(&copy, 0, sizeof(copy));
  copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.srcDevice = memory;
  copy.srcPitch = pitch;
  copy.srcXInBytes = 10;
  copy.srcY = 3;
  copy.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstHost = in;
  copy.dstPitch = kPitch;
  copy.WidthInBytes = 500;
  copy.Height = 1500;
  OK(cuMemcpy2D(&copy));
  for (int row = 0; row < 1500; ++row) CHECK(memcmp(in[row], &out[row + 3][10], 500) == 0);
  CHECK(in[0][500] == 0);
  copy.Height = 2500;
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D(&copy));
}

void test_host_memory(void) {
  void *pinned = NULL;
  CUdeviceptr device = 0;
  unsigned type = 0;
  static unsigned char own[8192];
  begin();
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemHostAlloc(&pinned, 0, 0));
  OK(cuMemHostAlloc(&pinned, 100, CU_MEMHOSTALLOC_DEVICEMAP));
  memset(pinned, 3, 100);
  OK(cuMemHostGetDevicePointer(&device, pinned, 0));
  OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, device));
  CHECK(type == CU_MEMORYTYPE_HOST);
  OK(cuMemsetD8(device, 9, 50));
  OK(cuCtxSynchronize());
  CHECK(((unsigned char *)pinned)[49] == 9 && ((unsigned char *)pinned)[50] == 3);
  OK(cuMemFreeHost(pinned));
  OK(cuMemHostRegister(own, sizeof(own), 0));
  EXPECT(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister(own, sizeof(own), 0));
  EXPECT(CUDA_ERROR_NOT_SUPPORTED, cuMemHostGetDevicePointer(&device, own, 0));
  OK(cuMemAlloc(&device, sizeof(own)));
  memset(own, 0x44, sizeof(own));
  OK(cuMemcpyHtoD(device, own, sizeof(own)));
  memset(own, 0, sizeof(own));
  OK(cuMemcpyDtoH(own, device, sizeof(own)));
  CHECK(own[8191] == 0x44);
  OK(cuMemHostUnregister(own));
  EXPECT(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(own));
  CUdeviceptr managed = 0;
  OK(cuMemAllocManaged(&managed, 1 << 20, CU_MEM_ATTACH_GLOBAL));
  ((int *)(size_t)managed)[7] = 12;
  OK(cuMemsetD32(managed + 32, 99, 1));
  OK(cuCtxSynchronize());
  CHECK(((int *)(size_t)managed)[7] == 12 && ((int *)(size_t)managed)[8] == 99);
  OK(cuMemFree(managed));
  void *many[64];
  for (int i = 0; i < 64; ++i) OK(cuMemAllocHost(&many[i], (size_t)(i + 1) * 50000));
  for (int i = 0; i < 64; ++i) memset(many[i], i, (size_t)(i + 1) * 50000);
  for (int i = 0; i < 64; ++i) CHECK(((unsigned char *)many[i])[i * 50000] == i);
  for (int i = 63; i >= 0; --i) OK(cuMemFreeHost(many[i]));
}

void test_pools(void) {
  CUmemoryPool pool = NULL;
  CUmemoryPool same = NULL;
  CUdeviceptr memory = 0;
  CUstream stream = NULL;
  cuuint64_t threshold = 1 << 20;
  cuuint64_t read = 0;
  unsigned char bytes[16];
  begin();
  OK(cuStreamCreate(&stream, 0));
  OK(cuDeviceGetDefaultMemPool(&pool, 0));
  OK(cuDeviceGetMemPool(&same, 0));
  CHECK(pool == same && pool != NULL);
  OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold));
  OK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &read));
  CHECK(read == threshold);
  OK(cuMemAllocAsync(&memory, 5000, stream));
  OK(cuMemsetD8Async(memory, 0x5A, 5000, stream));
  OK(cuMemcpyDtoHAsync(bytes, memory + 4984, 16, stream));
  OK(cuStreamSynchronize(stream));
  CHECK(bytes[15] == 0x5A);
  OK(cuMemFreeAsync(memory, stream));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFreeAsync(memory, stream));
  OK(cuStreamSynchronize(stream));
}
