// SPDX-License-Identifier: Apache-2.0
// An ordinary program over the CUDA runtime that uses about seventy of its calls and judges itself:
// exit code 0, or 1 and what was wrong. Built with static and with shared cudart.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#define CHECK(condition)                                                     \
  do {                                                                       \
    if (!(condition)) {                                                      \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                          \
    }                                                                        \
  } while (0)
#define EXPECT(wanted, call)                                                          \
  do {                                                                                \
    const cudaError_t got_ = (call);                                                  \
    if (got_ != (wanted)) {                                                           \
      std::fprintf(stderr, "%s:%d: %s answered %d (%s)\n", __FILE__, __LINE__, #call, \
                   static_cast<int>(got_), cudaGetErrorString(got_));                 \
      std::exit(1);                                                                   \
    }                                                                                 \
  } while (0)
#define OK(call) EXPECT(cudaSuccess, call)

namespace {

constexpr int kCount = 10000;

struct Pair {
  char tag;
  double factor;
  short shift;
};

__constant__ float table[4] = {1.5f, 2.5f, 3.5f, 4.5f};
__device__ int counter = 10;

__global__ void scale(float* data, Pair pair, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) data[i] = data[i] * static_cast<float>(pair.factor) + table[i & 3] + pair.shift;
}

__global__ void fill(float* data, float value, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) data[i] = value;
}

__global__ void sum_blocks(const float* data, float* sums, int count) {
  extern __shared__ float shared[];
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  shared[threadIdx.x] = i < count ? data[i] : 0.0f;
  __syncthreads();
  for (unsigned step = blockDim.x / 2; step > 0; step /= 2) {
    if (threadIdx.x < step) shared[threadIdx.x] += shared[threadIdx.x + step];
    __syncthreads();
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = shared[0];
}

__global__ void count_up() { atomicAdd(&counter, 1); }

__global__ void bump(int* data) { data[threadIdx.x] += static_cast<int>(threadIdx.x); }

void test_device() {
  int count = 0;
  cudaDeviceProp properties{};
  int value = 0;
  OK(cudaGetDeviceCount(&count));
  CHECK(count == 1);
  OK(cudaGetDeviceProperties(&properties, 0));
  CHECK(properties.name[0] != 0 && properties.warpSize == 32);
  OK(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0));
  CHECK(value == properties.multiProcessorCount);
  OK(cudaSetDevice(0));
  OK(cudaGetDevice(&value));
  CHECK(value == 0);
  EXPECT(cudaErrorInvalidDevice, cudaSetDevice(9));
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
  OK(cudaRuntimeGetVersion(&value));
  OK(cudaDriverGetVersion(&value));
  CHECK(value >= 13000);
  size_t limit = 0;
  OK(cudaDeviceGetLimit(&limit, cudaLimitStackSize));
  int least = 0;
  int greatest = 0;
  OK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  CHECK(least >= greatest);
}

void test_kernels() {
  std::vector<float> host(kCount, 2.0f);
  float* data = nullptr;
  float* sums = nullptr;
  OK(cudaMalloc(&data, kCount * sizeof(float)));
  OK(cudaMalloc(&sums, 40 * sizeof(float)));
  OK(cudaMemcpy(data, host.data(), kCount * sizeof(float), cudaMemcpyHostToDevice));
  scale<<<(kCount + 255) / 256, 256>>>(data, Pair{'x', 3.0, 1}, kCount);
  OK(cudaGetLastError());
  OK(cudaDeviceSynchronize());
  OK(cudaMemcpy(host.data(), data, kCount * sizeof(float), cudaMemcpyDeviceToHost));
  for (int i = 0; i < kCount; ++i) CHECK(host[i] == 7.0f + 1.5f + static_cast<float>(i & 3));
  const float changed[4] = {0, 0, 0, 0};
  OK(cudaMemcpyToSymbol(table, changed, sizeof(changed)));
  fill<<<40, 256>>>(data, 0.5f, kCount);
  scale<<<40, 256>>>(data, Pair{'y', 2.0, 0}, kCount);
  sum_blocks<<<40, 256, 256 * sizeof(float)>>>(data, sums, kCount);
  float part[40];
  OK(cudaMemcpy(part, sums, sizeof(part), cudaMemcpyDeviceToHost));
  float sum = 0;
  for (const float value : part) sum += value;
  CHECK(sum == static_cast<float>(kCount));
  for (int i = 0; i < 5; ++i) count_up<<<2, 32>>>();
  int counted = 0;
  OK(cudaMemcpyFromSymbol(&counted, counter, sizeof(counted)));
  CHECK(counted == 10 + 5 * 64);
  void* address = nullptr;
  OK(cudaGetSymbolAddress(&address, counter));
  cudaFuncAttributes attributes{};
  OK(cudaFuncGetAttributes(&attributes, sum_blocks));
  CHECK(attributes.maxThreadsPerBlock >= 256);
  OK(cudaFuncSetAttribute(sum_blocks, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000));
  int blocks = 0;
  OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, sum_blocks, 256, 1024));
  CHECK(blocks > 0);
  fill<<<1, 4096>>>(data, 0, 1);
  CHECK(cudaGetLastError() != cudaSuccess);
  CHECK(cudaGetLastError() == cudaSuccess);
  OK(cudaFree(data));
  OK(cudaFree(sums));
  EXPECT(cudaErrorInvalidValue, cudaFree(sums));
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
}

void note(void* data) { ++*static_cast<int*>(data); }

void test_streams() {
  cudaStream_t stream = nullptr;
  cudaStream_t urgent = nullptr;
  cudaEvent_t start = nullptr;
  cudaEvent_t stop = nullptr;
  float* pinned = nullptr;
  float* data = nullptr;
  float ms = -1;
  int called = 0;
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithPriority(&urgent, cudaStreamDefault, -1));
  OK(cudaEventCreate(&start));
  OK(cudaEventCreateWithFlags(&stop, cudaEventDefault));
  OK(cudaMallocHost(&pinned, kCount * sizeof(float)));
  OK(cudaMallocAsync(&data, kCount * sizeof(float), stream));
  for (int i = 0; i < kCount; ++i) pinned[i] = static_cast<float>(i);
  OK(cudaEventRecord(start, stream));
  OK(cudaMemcpyAsync(data, pinned, kCount * sizeof(float), cudaMemcpyHostToDevice, stream));
  scale<<<40, 256, 0, stream>>>(data, Pair{'z', 1.0, 2}, kCount);
  OK(cudaLaunchHostFunc(stream, note, &called));
  OK(cudaMemcpyAsync(pinned, data, kCount * sizeof(float), cudaMemcpyDeviceToHost, stream));
  OK(cudaEventRecord(stop, stream));
  OK(cudaStreamWaitEvent(urgent, stop, 0));
  OK(cudaStreamSynchronize(urgent));
  OK(cudaEventSynchronize(stop));
  OK(cudaEventElapsedTime(&ms, start, stop));
  CHECK(ms >= 0 && called == 1);
  for (int i = 0; i < kCount; ++i) CHECK(pinned[i] == static_cast<float>(i + 2));
  OK(cudaFreeAsync(data, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(cudaStreamQuery(stream) == cudaSuccess);
  OK(cudaFreeHost(pinned));
  OK(cudaEventDestroy(start));
  OK(cudaEventDestroy(stop));
  OK(cudaStreamDestroy(stream));
  OK(cudaStreamDestroy(urgent));
}

void test_memory() {
  size_t free_bytes = 0;
  size_t total = 0;
  size_t pitch = 0;
  void* pitched = nullptr;
  int* managed = nullptr;
  std::vector<unsigned char> in(100 * 300);
  std::vector<unsigned char> out(100 * 300, 1);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<unsigned char>(i * 7);
  OK(cudaMemGetInfo(&free_bytes, &total));
  CHECK(free_bytes <= total);
  OK(cudaMallocPitch(&pitched, &pitch, 300, 100));
  OK(cudaMemcpy2D(pitched, pitch, in.data(), 300, 300, 100, cudaMemcpyHostToDevice));
  OK(cudaMemcpy2D(out.data(), 300, pitched, pitch, 300, 100, cudaMemcpyDeviceToHost));
  CHECK(in == out);
  OK(cudaMemset2D(pitched, pitch, 9, 300, 50));
  OK(cudaMemcpy2D(out.data(), 300, pitched, pitch, 300, 100, cudaMemcpyDeviceToHost));
  CHECK(out[0] == 9 && out[50 * 300 - 1] == 9 && out[50 * 300] == in[50 * 300]);
  OK(cudaFree(pitched));
  OK(cudaMallocManaged(&managed, 64 * sizeof(int)));
  for (int i = 0; i < 64; ++i) managed[i] = 100;
  bump<<<1, 64>>>(managed);
  OK(cudaDeviceSynchronize());
  for (int i = 0; i < 64; ++i) CHECK(managed[i] == 100 + i);
  cudaPointerAttributes attributes{};
  OK(cudaPointerGetAttributes(&attributes, managed));
  CHECK(attributes.type == cudaMemoryTypeManaged);
  OK(cudaPointerGetAttributes(&attributes, &pitch));
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
  OK(cudaFree(managed));
  void* huge = nullptr;
  EXPECT(cudaErrorMemoryAllocation, cudaMalloc(&huge, size_t{1} << 46));
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
}

void test_graph() {
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  int* data = nullptr;
  int host[64] = {};
  OK(cudaStreamCreate(&stream));
  OK(cudaMalloc(&data, sizeof(host)));
  OK(cudaMemset(data, 0, sizeof(host)));
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  bump<<<1, 64, 0, stream>>>(data);
  bump<<<1, 64, 0, stream>>>(data);
  OK(cudaStreamEndCapture(stream, &graph));
  size_t nodes = 0;
  OK(cudaGraphGetNodes(graph, nullptr, &nodes));
  CHECK(nodes == 2);
  OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int i = 0; i < 10; ++i) OK(cudaGraphLaunch(exec, stream));
  OK(cudaMemcpyAsync(host, data, sizeof(host), cudaMemcpyDeviceToHost, stream));
  OK(cudaStreamSynchronize(stream));
  for (int i = 0; i < 64; ++i) CHECK(host[i] == 20 * i);
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphDestroy(graph));
  OK(cudaFree(data));
  OK(cudaStreamDestroy(stream));
}

void test_threads() {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      int* data = nullptr;
      int host[64] = {};
      OK(cudaMalloc(&data, sizeof(host)));
      OK(cudaMemset(data, 0, sizeof(host)));
      for (int i = 0; i <= t; ++i) bump<<<1, 64, 0, cudaStreamPerThread>>>(data);
      OK(cudaStreamSynchronize(cudaStreamPerThread));
      OK(cudaMemcpy(host, data, sizeof(host), cudaMemcpyDeviceToHost));
      for (int i = 0; i < 64; ++i) CHECK(host[i] == (t + 1) * i);
      OK(cudaFree(data));
    });
  }
  for (auto& thread : threads) thread.join();
}

void test_reset() {
  void* data = nullptr;
  OK(cudaMalloc(&data, 1000));
  OK(cudaDeviceReset());
  OK(cudaMalloc(&data, 1000));
  OK(cudaFree(data));
}

}  // namespace

int main() {
  test_device();
  test_kernels();
  test_streams();
  test_memory();
  test_graph();
  test_threads();
  test_reset();
  std::puts("all right");
  return 0;
}
