// SPDX-License-Identifier: Apache-2.0
// Launches: occupancy, attributes, cooperative grids, extended launches, limits, device-side
// services.
#include "judge.h"

#include <cooperative_groups.h>

#include <cstdint>

namespace {

namespace cg = cooperative_groups;

__global__ void add(int* data, int value) { data[threadIdx.x] += value; }
__global__ void with_dynamic(int* out, int words) {
  extern __shared__ int shared[];
  for (int i = static_cast<int>(threadIdx.x); i < words; i += 32) shared[i] = i;
  __syncthreads();
  if (threadIdx.x == 0) *out = shared[words - 1];
}
__global__ void __launch_bounds__(128) bounded(int* data) { data[threadIdx.x] = 1; }
__global__ void grid_sum(int* data, int* total) {
  const cg::grid_group grid = cg::this_grid();
  data[grid.thread_rank()] = 1;
  grid.sync();
  if (grid.thread_rank() == 0) {
    for (unsigned i = 0; i < grid.size(); ++i) *total += data[i];
  }
}
__global__ void clocks(long long* out) {
  const long long first = clock64();
  unsigned long long time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  for (int i = 0; i < 100; ++i) out[2] += i;
  const long long second = clock64();
  out[0] = second - first;
  out[1] = static_cast<long long>(time);
}
__global__ void heap(int* out) {
  int* mine = static_cast<int*>(malloc(64));
  if (mine == nullptr) return;
  mine[3] = static_cast<int>(threadIdx.x) + 1;
  atomicAdd(out, mine[3]);
  free(mine);
}
__device__ int times_three(int x) { return 3 * x; }
__device__ int (*const device_function)(int) = times_three;
__global__ void indirect(int* out) { *out = device_function(7); }

}  // namespace

TEST(launch_occupancy) {
  int blocks = 0, grid = 0, block = 0;
  OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, add, 128, 0));
  CHECK(blocks >= 1 && blocks <= 32);
  int fewer = 0;
  OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&fewer, with_dynamic, 128, 40 * 1024));
  CHECK(fewer >= 1 && fewer < blocks);
  OK(cudaOccupancyMaxPotentialBlockSize(&grid, &block, add, 0, 0));
  CHECK(block > 0 && block <= 1024 && grid > 0);
  size_t dynamic = 0;
  OK(cudaOccupancyAvailableDynamicSMemPerBlock(&dynamic, with_dynamic, 1, 128));
  CHECK(dynamic >= 48 * 1024);
}

TEST(launch_function_attributes) {
  cudaFuncAttributes attributes{};
  OK(cudaFuncGetAttributes(&attributes, bounded));
  CHECK(attributes.maxThreadsPerBlock == 128);
  OK(cudaFuncSetAttribute(with_dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 * 1024));
  OK(cudaFuncGetAttributes(&attributes, with_dynamic));
  CHECK(attributes.maxDynamicSharedSizeBytes == 64 * 1024);
  Device<int> out(1);
  with_dynamic<<<1, 32, 64 * 1024>>>(out.at, 16 * 1024);
  OK(cudaGetLastError());
  CHECK(out.read()[0] == 16 * 1024 - 1);
  OK(cudaFuncSetCacheConfig(with_dynamic, cudaFuncCachePreferShared));
}

TEST(launch_limits_are_told_at_the_launch) {
  Device<int> data(1024);
  add<<<1, 2000>>>(data.at, 1);
  CHECK(cudaGetLastError() != cudaSuccess);
  add<<<0, 32>>>(data.at, 1);
  CHECK(cudaGetLastError() != cudaSuccess);
  add<<<dim3(1, 70000), 32>>>(data.at, 1);
  CHECK(cudaGetLastError() != cudaSuccess);
  add<<<1, 32, 1 << 20>>>(data.at, 1);
  CHECK(cudaGetLastError() != cudaSuccess);
  bounded<<<1, 256>>>(data.at);
  CHECK(cudaGetLastError() != cudaSuccess);
  add<<<1, dim3(1, 1, 65)>>>(data.at, 1);
  CHECK(cudaGetLastError() != cudaSuccess);
  OK(cudaDeviceSynchronize());
  add<<<1, 1024>>>(data.at, 1);
  OK(cudaGetLastError());
  CHECK(data.read()[1023] == 1);
}

TEST(launch_cooperative_grid) {
  int supported = 0;
  OK(cudaDeviceGetAttribute(&supported, cudaDevAttrCooperativeLaunch, 0));
  CHECK(supported == 1);
  Device<int> data(256), total(1);
  void* args[] = {&data.at, &total.at};
  OK(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(grid_sum), dim3(4), dim3(64), args, 0,
                                 nullptr));
  CHECK(total.read()[0] == 256);
  EXPECT(cudaErrorCooperativeLaunchTooLarge,
         cudaLaunchCooperativeKernel(reinterpret_cast<void*>(grid_sum), dim3(100000), dim3(1024),
                                     args, 0, nullptr));
  cudaGetLastError();
}

TEST(launch_extended) {
  Device<int> data(32);
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attributes[2]{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(32);
  attributes[0].id = cudaLaunchAttributePriority;
  attributes[0].val.priority = 0;
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  config.attrs = attributes;
  config.numAttrs = 1;
  OK(cudaLaunchKernelEx(&config, add, data.at, 5));
  CHECK(data.read()[31] == 5);
}

TEST(launch_by_pointer) {
  Device<int> data(32);
  int value = 8;
  void* args[] = {&data.at, &value};
  OK(cudaLaunchKernel(reinterpret_cast<void*>(add), dim3(1), dim3(32), args, 0, nullptr));
  CHECK(data.read()[0] == 8);
}

TEST(device_clocks_go_on) {
  Device<long long> out(3);
  clocks<<<1, 1>>>(out.at);
  const long long first = out.read()[1];
  clocks<<<1, 1>>>(out.at);
  CHECK(out.read()[0] > 0 && out.read()[1] > first);
}

TEST(device_heap) {
  OK(cudaDeviceSetLimit(cudaLimitMallocHeapSize, 16 << 20));
  size_t limit = 0;
  OK(cudaDeviceGetLimit(&limit, cudaLimitMallocHeapSize));
  CHECK(limit >= 16 << 20);
  Device<int> out(1);
  heap<<<1, 32>>>(out.at);
  CHECK(out.read()[0] == 32 * 33 / 2);
}

TEST(device_function_pointer) {
  Device<int> out(1);
  indirect<<<1, 1>>>(out.at);
  CHECK(out.read()[0] == 21);
}
