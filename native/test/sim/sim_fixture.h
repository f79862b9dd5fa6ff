// SPDX-License-Identifier: Apache-2.0
// A driver table with a current context, for every test of the simulated device.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "drivers/sim/sim.h"

namespace phos::sim::test {

// The table of this process. Each test program is one process with one set of settings.
inline DriverTable& cuda() {
  static DriverTable table = [] {
    DriverTable filled{};
    if (!fill_driver_table(filled)) {
      std::abort();
    }
    return filled;
  }();
  return table;
}

#define ASSERT_CUDA(call) ASSERT_EQ(::phos::sim::test::cuda().call, CUDA_SUCCESS) << #call
#define EXPECT_CUDA(call) EXPECT_EQ(::phos::sim::test::cuda().call, CUDA_SUCCESS) << #call
#define EXPECT_ERROR(call, error) EXPECT_EQ(::phos::sim::test::cuda().call, error) << #call

class SimTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_CUDA(cuInit(0));
    ASSERT_CUDA(cuDevicePrimaryCtxRetain(&context, 0));
    ASSERT_CUDA(cuCtxSetCurrent(context));
  }
  void TearDown() override {
    cuda().cuCtxSetCurrent(nullptr);
    cuda().cuDevicePrimaryCtxRelease(0);
  }

  CUdeviceptr allocate(std::size_t bytes) {
    CUdeviceptr address = 0;
    EXPECT_CUDA(cuMemAlloc(&address, bytes));
    return address;
  }
  template <class T>
  std::vector<T> download(CUdeviceptr address, std::size_t count) {
    std::vector<T> values(count);
    EXPECT_CUDA(cuMemcpyDtoH(values.data(), address, count * sizeof(T)));
    return values;
  }
  template <class T>
  CUdeviceptr upload(const std::vector<T>& values) {
    const CUdeviceptr address = allocate(values.size() * sizeof(T));
    EXPECT_CUDA(cuMemcpyHtoD(address, values.data(), values.size() * sizeof(T)));
    return address;
  }
  // Pinned memory, zeroed.
  template <class T>
  T* pinned(std::size_t count) {
    void* memory = nullptr;
    EXPECT_CUDA(cuMemHostAlloc(&memory, count * sizeof(T), 0));
    return static_cast<T*>(memory);
  }
  CUdeviceptr device_address(void* host) {
    CUdeviceptr address = 0;
    EXPECT_CUDA(cuMemHostGetDevicePointer(&address, host, 0));
    return address;
  }

  CUcontext context = nullptr;
};

}  // namespace phos::sim::test
