// SPDX-License-Identifier: Apache-2.0
// Streams, events, host functions and callbacks.
#include "judge.h"

#include <cuda.h>

#include <atomic>
#include <thread>

namespace {

__global__ void add_one(int* data) { data[threadIdx.x] += 1; }
__global__ void set_to(int* data, int value) { data[threadIdx.x] = value; }
__global__ void copy_one(const int* from, int* to) { to[threadIdx.x] = from[threadIdx.x]; }
__global__ void wait_for(volatile int* flag, int* seen) {
  while (*flag == 0) {
  }
  *seen = *flag;
}

}  // namespace

TEST(stream_legacy_waits_for_blocking_streams) {
  Device<int> data(32);
  cudaStream_t first, second;
  OK(cudaStreamCreate(&first));
  OK(cudaStreamCreate(&second));
  for (int i = 0; i < 20; ++i) {
    set_to<<<1, 32, 0, first>>>(data.at, i);
    add_one<<<1, 32>>>(data.at);
    add_one<<<1, 32, 0, second>>>(data.at);
    const int* before = data.at;
    int host[32];
    OK(cudaMemcpy(host, before, sizeof(host), cudaMemcpyDeviceToHost));
    CHECK_AT(i, host[0] == i + 2 && host[31] == i + 2);
  }
  OK(cudaStreamDestroy(first));
  OK(cudaStreamDestroy(second));
}

TEST(stream_event_orders_two_streams) {
  Device<int> data(32), copy(32);
  cudaStream_t producer, consumer;
  cudaEvent_t ready;
  OK(cudaStreamCreateWithFlags(&producer, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithFlags(&consumer, cudaStreamNonBlocking));
  OK(cudaEventCreateWithFlags(&ready, cudaEventDisableTiming));
  for (int i = 1; i <= 10; ++i) {
    set_to<<<1, 32, 0, producer>>>(data.at, i);
    OK(cudaEventRecord(ready, producer));
    OK(cudaStreamWaitEvent(consumer, ready, 0));
    copy_one<<<1, 32, 0, consumer>>>(data.at, copy.at);
    OK(cudaStreamSynchronize(consumer));
    CHECK_AT(i, copy.read()[7] == i);
  }
  EXPECT(cudaSuccess, cudaEventQuery(ready));
  OK(cudaEventDestroy(ready));
  OK(cudaStreamDestroy(producer));
  OK(cudaStreamDestroy(consumer));
}

TEST(stream_priorities_and_flags) {
  int least = 0, greatest = 0, priority = 9;
  unsigned flags = 9;
  OK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  cudaStream_t stream;
  OK(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
  OK(cudaStreamGetPriority(stream, &priority));
  OK(cudaStreamGetFlags(stream, &flags));
  CHECK(priority == greatest && flags == cudaStreamNonBlocking);
  unsigned long long id = 0, other = 0;
  OK(cudaStreamGetId(stream, &id));
  OK(cudaStreamGetId(nullptr, &other));
  CHECK(id != other);
  int device = -1;
  OK(cudaStreamGetDevice(stream, &device));
  CHECK(device == 0);
  OK(cudaStreamDestroy(stream));
}

TEST(stream_attributes_copy) {
  cudaStream_t one, two;
  OK(cudaStreamCreate(&one));
  OK(cudaStreamCreate(&two));
  cudaStreamAttrValue value{};
  value.syncPolicy = cudaSyncPolicyYield;
  OK(cudaStreamSetAttribute(one, cudaStreamAttributeSynchronizationPolicy, &value));
  OK(cudaStreamCopyAttributes(two, one));
  cudaStreamAttrValue back{};
  OK(cudaStreamGetAttribute(two, cudaStreamAttributeSynchronizationPolicy, &back));
  CHECK(back.syncPolicy == cudaSyncPolicyYield);
  OK(cudaStreamDestroy(one));
  OK(cudaStreamDestroy(two));
}

TEST(stream_not_ready_while_a_kernel_runs) {
  int *flag = nullptr, *device_flag = nullptr;
  Device<int> seen(1);
  cudaStream_t stream;
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  OK(cudaHostAlloc(&flag, sizeof(int), cudaHostAllocMapped));
  *flag = 0;
  OK(cudaHostGetDevicePointer(&device_flag, flag, 0));
  wait_for<<<1, 1, 0, stream>>>(device_flag, seen.at);
  OK(cudaGetLastError());
  EXPECT(cudaErrorNotReady, cudaStreamQuery(stream));
  CHECK(cudaGetLastError() == cudaErrorNotReady || cudaGetLastError() == cudaSuccess);
  *static_cast<volatile int*>(flag) = 7;
  OK(cudaStreamSynchronize(stream));
  CHECK(seen.read()[0] == 7);
  OK(cudaFreeHost(flag));
  OK(cudaStreamDestroy(stream));
}

TEST(stream_host_function_runs_in_order) {
  static std::vector<int> order;
  order.clear();
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  Device<int> data(32);
  static int numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  for (int& number : numbers) {
    add_one<<<1, 32, 0, stream>>>(data.at);
    OK(cudaLaunchHostFunc(
        stream, [](void* which) { order.push_back(*static_cast<int*>(which)); }, &number));
  }
  OK(cudaStreamSynchronize(stream));
  CHECK(order.size() == 8);
  for (int i = 0; i < 8; ++i) CHECK_AT(i, order[i] == i);
  OK(cudaStreamDestroy(stream));
}

TEST(stream_callback_gets_stream_and_status) {
  static std::atomic<int> called{0};
  static cudaStream_t given = nullptr;
  called = 0;
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  const auto callback = [](cudaStream_t which, cudaError_t status, void* data) {
    given = which;
    called += status == cudaSuccess ? *static_cast<int*>(data) : -100;
  };
  int three = 3;
  OK(cudaStreamAddCallback(stream, callback, &three, 0));
  OK(cudaStreamAddCallback(stream, callback, &three, 0));
  OK(cudaStreamSynchronize(stream));
  CHECK(called == 6 && given == stream);
  OK(cudaStreamDestroy(stream));
}

TEST(stream_host_function_sees_copied_data) {
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  struct Job {
    int* host;
    int sum;
  } job{nullptr, 0};
  Device<int> data(32);
  OK(cudaMallocHost(&job.host, 32 * sizeof(int)));
  set_to<<<1, 32, 0, stream>>>(data.at, 5);
  OK(cudaMemcpyAsync(job.host, data.at, 32 * sizeof(int), cudaMemcpyDeviceToHost, stream));
  OK(cudaLaunchHostFunc(
      stream,
      [](void* at) {
        Job& its = *static_cast<Job*>(at);
        for (int i = 0; i < 32; ++i) its.sum += its.host[i];
        its.host[0] = 100;
      },
      &job));
  OK(cudaMemcpyAsync(data.at, job.host, sizeof(int), cudaMemcpyHostToDevice, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(job.sum == 160 && data.read()[0] == 100);
  OK(cudaFreeHost(job.host));
  OK(cudaStreamDestroy(stream));
}

TEST(event_timing_grows) {
  cudaEvent_t start, middle, stop;
  OK(cudaEventCreate(&start));
  OK(cudaEventCreateWithFlags(&middle, cudaEventBlockingSync));
  OK(cudaEventCreate(&stop));
  Device<int> data(32);
  OK(cudaEventRecord(start));
  for (int i = 0; i < 50; ++i) add_one<<<1, 32>>>(data.at);
  OK(cudaEventRecord(middle));
  for (int i = 0; i < 50; ++i) add_one<<<1, 32>>>(data.at);
  OK(cudaEventRecord(stop));
  OK(cudaEventSynchronize(stop));
  float first = -1, all = -1;
  OK(cudaEventElapsedTime(&first, start, middle));
  OK(cudaEventElapsedTime(&all, start, stop));
  CHECK(first >= 0 && all >= first);
  cudaEvent_t untimed;
  OK(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
  OK(cudaEventRecord(untimed));
  EXPECT(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&first, start, untimed));
  OK(cudaEventDestroy(start));
  OK(cudaEventDestroy(middle));
  OK(cudaEventDestroy(stop));
  OK(cudaEventDestroy(untimed));
}

TEST(stream_per_thread_is_of_each_thread) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([t, &wrong] {
      Device<int> data(32);
      set_to<<<1, 32, 0, cudaStreamPerThread>>>(data.at, t);
      add_one<<<1, 32, 0, cudaStreamPerThread>>>(data.at);
      if (cudaStreamSynchronize(cudaStreamPerThread) != cudaSuccess) ++wrong;
      if (data.read()[3] != t + 1) ++wrong;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST(stream_memory_operations) {
  Device<unsigned> word(4);
  CUstream stream;
  DRV(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  const auto at = reinterpret_cast<CUdeviceptr>(word.at);
  DRV(cuStreamWriteValue32(stream, at, 5, 0));
  DRV(cuStreamWaitValue32(stream, at, 5, CU_STREAM_WAIT_VALUE_EQ));
  DRV(cuStreamWriteValue64(stream, at + 8, 0x100000002ULL, 0));
  DRV(cuStreamSynchronize(stream));
  CHECK(word.read()[0] == 5 && word.read()[2] == 2 && word.read()[3] == 1);
  CUstreamBatchMemOpParams ops[2]{};
  ops[0].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
  ops[0].writeValue.address = at;
  ops[0].writeValue.value = 9;
  ops[1].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
  ops[1].waitValue.address = at;
  ops[1].waitValue.value = 9;
  ops[1].waitValue.flags = CU_STREAM_WAIT_VALUE_GEQ;
  DRV(cuStreamBatchMemOp(stream, 2, ops, 0));
  DRV(cuStreamSynchronize(stream));
  CHECK(word.read()[0] == 9);
  DRV(cuStreamDestroy(stream));
}

TEST(graph_captured_host_function) {
  static int calls = 0;
  calls = 0;
  cudaStream_t stream;
  cudaGraph_t graph;
  OK(cudaStreamCreate(&stream));
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  OK(cudaLaunchHostFunc(stream, [](void* count) { ++*static_cast<int*>(count); }, &calls));
  OK(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t exec;
  OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int i = 0; i < 3; ++i) OK(cudaGraphLaunch(exec, stream));
  OK(cudaStreamSynchronize(stream));
  OK(cudaGraphExecDestroy(exec));
  CHECK(calls == 3);
  OK(cudaGraphDestroy(graph));
  OK(cudaStreamDestroy(stream));
}
