// SPDX-License-Identifier: Apache-2.0
// What errors do. Each test ends its context, so each wants a process of its own.
#include "judge.h"

#include <cassert>
#include <cstdio>

namespace {

__global__ void write_at(int* at) { *at = 1; }
__global__ void fails_assert(int x) { assert(x == 0); }
__global__ void traps() { asm volatile("trap;"); }
__global__ void prints(int x) {
  printf("from thread %d: %d %s %.2f\n", threadIdx.x, x, "text", 1.5);
}

// The error comes back from every later call until the context ends.
void expect_sticky(cudaError_t wanted) {
  EXPECT(wanted, cudaDeviceSynchronize());
  void* data = nullptr;
  EXPECT(wanted, cudaMalloc(&data, 64));
  CHECK(cudaGetLastError() == wanted);
  EXPECT(wanted, cudaMalloc(&data, 64));
  OK(cudaDeviceReset());
  OK(cudaMalloc(&data, 64));
  OK(cudaFree(data));
}

}  // namespace

TEST(error_illegal_address_is_sticky) {
  write_at<<<1, 1>>>(reinterpret_cast<int*>(0x10));
  expect_sticky(cudaErrorIllegalAddress);
}

TEST(error_misaligned_is_sticky) {
  int* data = nullptr;
  OK(cudaMalloc(&data, 64));
  write_at<<<1, 1>>>(reinterpret_cast<int*>(reinterpret_cast<char*>(data) + 1));
  expect_sticky(cudaErrorMisalignedAddress);
}

TEST(error_assert_is_sticky) {
  fails_assert<<<1, 1>>>(1);
  expect_sticky(cudaErrorAssert);
}

TEST(error_trap_is_sticky) {
  traps<<<1, 1>>>();
  expect_sticky(cudaErrorLaunchFailure);
}

TEST(error_of_a_call_is_not_sticky) {
  void* data = nullptr;
  EXPECT(cudaErrorInvalidValue, cudaMemcpy(nullptr, nullptr, 5, cudaMemcpyDeviceToDevice));
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaSuccess);
  EXPECT(cudaErrorMemoryAllocation, cudaMalloc(&data, size_t{1} << 45));
  OK(cudaMalloc(&data, 4));
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  OK(cudaFree(data));
  EXPECT(cudaErrorInvalidValue, cudaMemset(reinterpret_cast<void*>(0x77), 0, 4));
  cudaGetLastError();
}

TEST(device_printf) {
  prints<<<1, 2>>>(5);
  OK(cudaDeviceSynchronize());
}
