// SPDX-License-Identifier: Apache-2.0
// Stream-ordered allocation and pools.
#include "judge.h"

#include <cstdint>

namespace {

__global__ void fill(int* data, int value) { data[blockIdx.x * blockDim.x + threadIdx.x] = value; }

cudaMemPoolProps pool_on(int device) {
  cudaMemPoolProps props{};
  props.allocType = cudaMemAllocationTypePinned;
  props.location.type = cudaMemLocationTypeDevice;
  props.location.id = device;
  return props;
}

}  // namespace

TEST(pool_default_allocates_in_stream_order) {
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  for (int round = 0; round < 20; ++round) {
    int* data = nullptr;
    OK(cudaMallocAsync(&data, 1024 * 4, stream));
    fill<<<4, 256, 0, stream>>>(data, round);
    int host[1024];
    OK(cudaMemcpyAsync(host, data, sizeof(host), cudaMemcpyDeviceToHost, stream));
    OK(cudaFreeAsync(data, stream));
    OK(cudaStreamSynchronize(stream));
    CHECK_AT(round, host[0] == round && host[1023] == round);
  }
  OK(cudaStreamDestroy(stream));
}

TEST(pool_attributes) {
  cudaMemPool_t pool = nullptr, current = nullptr;
  OK(cudaDeviceGetDefaultMemPool(&pool, 0));
  OK(cudaDeviceGetMemPool(&current, 0));
  CHECK(pool == current);
  std::uint64_t threshold = 0;
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  CHECK(threshold == 0);
  threshold = UINT64_MAX;
  OK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  std::uint64_t back = 0;
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &back));
  CHECK(back == UINT64_MAX);
  int reuse = -1;
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolReuseAllowOpportunistic, &reuse));
  CHECK(reuse == 1);
  int* data = nullptr;
  OK(cudaMallocAsync(&data, 1 << 20, nullptr));
  std::uint64_t used = 0, high = 0, reserved = 0;
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &high));
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved));
  CHECK(used >= 1 << 20 && high >= used && reserved >= used);
  OK(cudaFreeAsync(data, nullptr));
  OK(cudaDeviceSynchronize());
  OK(cudaMemPoolTrimTo(pool, 0));
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  CHECK(used == 0);
  threshold = 0;
  OK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
}

TEST(pool_of_ones_own) {
  cudaMemPool_t pool = nullptr;
  const cudaMemPoolProps props = pool_on(0);
  OK(cudaMemPoolCreate(&pool, &props));
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  int *a = nullptr, *b = nullptr;
  OK(cudaMallocFromPoolAsync(&a, 4096, pool, stream));
  OK(cudaMallocFromPoolAsync(&b, 8192, pool, stream));
  fill<<<4, 256, 0, stream>>>(a, 3);
  fill<<<8, 256, 0, stream>>>(b, 4);
  int host[2];
  OK(cudaMemcpyAsync(host, a + 1023, 4, cudaMemcpyDeviceToHost, stream));
  OK(cudaMemcpyAsync(host + 1, b, 4, cudaMemcpyDeviceToHost, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(host[0] == 3 && host[1] == 4);
  cudaPointerAttributes attributes{};
  OK(cudaPointerGetAttributes(&attributes, a));
  CHECK(attributes.type == cudaMemoryTypeDevice);
  OK(cudaFreeAsync(a, stream));
  OK(cudaFreeAsync(b, stream));
  OK(cudaStreamSynchronize(stream));
  OK(cudaMemPoolDestroy(pool));
  OK(cudaStreamDestroy(stream));
}

TEST(pool_made_current) {
  cudaMemPool_t pool = nullptr, before = nullptr, now = nullptr;
  const cudaMemPoolProps props = pool_on(0);
  OK(cudaMemPoolCreate(&pool, &props));
  OK(cudaDeviceGetMemPool(&before, 0));
  OK(cudaDeviceSetMemPool(0, pool));
  OK(cudaDeviceGetMemPool(&now, 0));
  CHECK(now == pool && before != pool);
  int* data = nullptr;
  OK(cudaMallocAsync(&data, 4096, nullptr));
  fill<<<4, 256>>>(data, 8);
  OK(cudaDeviceSynchronize());
  std::uint64_t used = 0;
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  CHECK(used >= 4096);
  OK(cudaFree(data));
  OK(cudaDeviceSetMemPool(0, before));
  OK(cudaMemPoolDestroy(pool));
}

TEST(pool_access) {
  cudaMemPool_t pool = nullptr;
  OK(cudaDeviceGetDefaultMemPool(&pool, 0));
  cudaMemAccessFlags flags = cudaMemAccessFlagsProtNone;
  cudaMemLocation here{cudaMemLocationTypeDevice, 0};
  OK(cudaMemPoolGetAccess(&flags, pool, &here));
  CHECK(flags == cudaMemAccessFlagsProtReadWrite);
  cudaMemAccessDesc access{};
  access.location = here;
  access.flags = cudaMemAccessFlagsProtReadWrite;
  OK(cudaMemPoolSetAccess(pool, &access, 1));
}

TEST(pool_free_on_another_stream_after_an_event) {
  cudaStream_t one, two;
  cudaEvent_t done;
  OK(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking));
  OK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
  int* data = nullptr;
  OK(cudaMallocAsync(&data, 4096, one));
  fill<<<4, 256, 0, one>>>(data, 6);
  OK(cudaEventRecord(done, one));
  OK(cudaStreamWaitEvent(two, done, 0));
  fill<<<4, 256, 0, two>>>(data, 7);
  int host = 0;
  OK(cudaMemcpyAsync(&host, data, 4, cudaMemcpyDeviceToHost, two));
  OK(cudaFreeAsync(data, two));
  OK(cudaStreamSynchronize(two));
  CHECK(host == 7);
  OK(cudaStreamDestroy(one));
  OK(cudaStreamDestroy(two));
  OK(cudaEventDestroy(done));
}

TEST(pool_allocation_freed_by_cudafree) {
  int* data = nullptr;
  OK(cudaMallocAsync(&data, 4096, nullptr));
  fill<<<4, 256>>>(data, 1);
  OK(cudaFree(data));
  EXPECT(cudaErrorInvalidValue, cudaFreeAsync(data, nullptr));
}
