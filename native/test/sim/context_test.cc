// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "sim_fixture.h"

namespace phos::sim::test {
namespace {

class Contexts : public SimTest {};

TEST_F(Contexts, StackUpPerThread) {
  CUcontext second = nullptr;
  CUcontext current = nullptr;
  ASSERT_CUDA(cuCtxCreate(&second, nullptr, 0, 0));
  ASSERT_CUDA(cuCtxGetCurrent(&current));
  EXPECT_EQ(current, second);
  ASSERT_CUDA(cuCtxPushCurrent(context));
  ASSERT_CUDA(cuCtxPopCurrent(&current));
  EXPECT_EQ(current, context);
  std::thread([&] {
    CUcontext here = context;
    EXPECT_CUDA(cuCtxGetCurrent(&here));
    EXPECT_EQ(here, nullptr);
    CUdeviceptr address = 0;
    EXPECT_ERROR(cuMemAlloc(&address, 16), CUDA_ERROR_INVALID_CONTEXT);
  }).join();
  ASSERT_CUDA(cuCtxDestroy(second));
  ASSERT_CUDA(cuCtxGetCurrent(&current));
  EXPECT_EQ(current, context);
}

TEST_F(Contexts, CountUsersOfThePrimaryOne) {
  CUcontext again = nullptr;
  unsigned flags = 9;
  int active = 0;
  ASSERT_CUDA(cuDevicePrimaryCtxRetain(&again, 0));
  EXPECT_EQ(again, context);
  ASSERT_CUDA(cuDevicePrimaryCtxRelease(0));
  ASSERT_CUDA(cuDevicePrimaryCtxGetState(0, &flags, &active));
  EXPECT_EQ(active, 1);
  const CUdeviceptr address = allocate(16);
  ASSERT_CUDA(cuDevicePrimaryCtxRelease(0));
  ASSERT_CUDA(cuDevicePrimaryCtxGetState(0, &flags, &active));
  EXPECT_EQ(active, 0);
  EXPECT_ERROR(cuMemFree(address), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  EXPECT_ERROR(cuDevicePrimaryCtxRelease(0), CUDA_ERROR_INVALID_CONTEXT);
  ASSERT_CUDA(cuDevicePrimaryCtxRetain(&again, 0));
  EXPECT_EQ(again, context);
  EXPECT_ERROR(cuMemFree(address), CUDA_ERROR_INVALID_VALUE);  // went with the context
}

TEST_F(Contexts, HaveLimits) {
  std::size_t value = 0;
  ASSERT_CUDA(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
  EXPECT_EQ(value, 1024U);
  ASSERT_CUDA(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 8192));
  ASSERT_CUDA(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
  EXPECT_EQ(value, 8192U);
  EXPECT_ERROR(cuCtxGetLimit(&value, static_cast<CUlimit>(12)), CUDA_ERROR_UNSUPPORTED_LIMIT);
  int least = 9;
  int greatest = 9;
  ASSERT_CUDA(cuCtxGetStreamPriorityRange(&least, &greatest));
  EXPECT_EQ(least, 0);
  EXPECT_EQ(greatest, -5);
}

TEST_F(Contexts, DropWhatIsQueuedWhenTheyEnd) {
  CUcontext second = nullptr;
  ASSERT_CUDA(cuCtxCreate(&second, nullptr, 0, 0));
  auto* gate = pinned<std::uint32_t>(1);
  // Nobody will ever open this gate.
  ASSERT_CUDA(cuStreamWaitValue32(nullptr, device_address(gate), 1, CU_STREAM_WAIT_VALUE_EQ));
  ASSERT_CUDA(cuCtxDestroy(second));
}

TEST_F(Contexts, BelongToADevice) {
  int count = 0;
  ASSERT_CUDA(cuDeviceGetCount(&count));
  EXPECT_EQ(count, 1);
  CUdevice device = -1;
  EXPECT_ERROR(cuDeviceGet(&device, 1), CUDA_ERROR_INVALID_DEVICE);
  ASSERT_CUDA(cuCtxGetDevice(&device, nullptr));
  EXPECT_EQ(device, 0);
  char name[64] = {};
  ASSERT_CUDA(cuDeviceGetName(name, sizeof name, 0));
  EXPECT_STREQ(name, "phos sim");
  int major = 0;
  int minor = 0;
  ASSERT_CUDA(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
  ASSERT_CUDA(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0));
  EXPECT_EQ(major * 10 + minor, 86);
  EXPECT_ERROR(cuDeviceGetAttribute(&major, static_cast<CUdevice_attribute>(200), 0),
               CUDA_ERROR_INVALID_VALUE);
  char bus[32] = {};
  ASSERT_CUDA(cuDeviceGetPCIBusId(bus, sizeof bus, 0));
  ASSERT_CUDA(cuDeviceGetByPCIBusId(&device, bus));
  EXPECT_EQ(device, 0);
}

}  // namespace
}  // namespace phos::sim::test
