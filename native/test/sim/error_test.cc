// SPDX-License-Identifier: Apache-2.0
// What CUDA answers at the call, and what kills a context.
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "kernels.h"
#include "sim_fixture.h"

namespace phos::sim::test {
namespace {

class Errors : public SimTest {
 protected:
  void SetUp() override {
    SimTest::SetUp();
    ASSERT_CUDA(cuModuleLoadData(&module, kKernels));
  }
  CUfunction function(const char* name) {
    CUfunction found = nullptr;
    EXPECT_CUDA(cuModuleGetFunction(&found, module, name));
    return found;
  }
  CUresult launch(const char* name, unsigned grid, unsigned block, unsigned shared = 0) {
    return cuda().cuLaunchKernel(function(name), grid, 1, 1, block, 1, 1, shared, nullptr,
                                 nullptr, nullptr);
  }
  CUresult store(CUdeviceptr address) {
    void* parameters[] = {&address};
    return cuda().cuLaunchKernel(function("store_to"), 1, 1, 1, 1, 1, 1, 0, nullptr, parameters,
                                 nullptr);
  }
  CUmodule module = nullptr;
};

TEST_F(Errors, RefuseLaunchesBeyondTheLimits) {
  EXPECT_EQ(launch("count", 1, 1024), CUDA_SUCCESS);
  EXPECT_EQ(launch("count", 1, 1025), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch("count", 0, 32), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch("count", 1, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch("bounded", 1, 65), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch("count", 1, 32, 48U << 10), CUDA_SUCCESS);
  EXPECT_EQ(launch("count", 1, 32, (48U << 10) + 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch("rotate", 1, 32), CUDA_ERROR_INVALID_VALUE);  // no parameters given
  EXPECT_ERROR(cuLaunchKernel(function("count"), 1, 65536, 1, 1, 1, 1, 0, nullptr, nullptr,
                              nullptr),
               CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuLaunchKernel(function("count"), 1, 1, 1, 1, 1, 65, 0, nullptr, nullptr, nullptr),
               CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuLaunchKernel(reinterpret_cast<CUfunction>(module), 1, 1, 1, 1, 1, 1, 0, nullptr,
                              nullptr, nullptr),
               CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(cuLaunchKernel(function("count"), 1, 1, 1, 1, 1, 1, 0,
                              reinterpret_cast<CUstream>(99), nullptr, nullptr),
               CUDA_ERROR_INVALID_HANDLE);
  EXPECT_CUDA(cuCtxSynchronize(nullptr));  // nothing of this is sticky
}

TEST_F(Errors, AllowMoreSharedMemoryOnDemand) {
  EXPECT_ERROR(cuFuncSetAttribute(function("count"),
                                  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 101377),
               CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(cuFuncSetAttribute(function("count"),
                                 CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 101376));
  EXPECT_EQ(launch("count", 1, 32, 101376), CUDA_SUCCESS);
  EXPECT_ERROR(cuFuncSetAttribute(function("rotate"),
                                  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 101376),
               CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Errors, RefuseCooperativeLaunchesThatDoNotFit) {
  int blocks = 0;
  ASSERT_CUDA(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function("count"), 256, 0));
  EXPECT_EQ(blocks, 6);  // 1536 threads
  ASSERT_CUDA(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function("count"), 32, 0));
  EXPECT_EQ(blocks, 16);
  ASSERT_CUDA(
      cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function("count"), 32, 40U << 10));
  EXPECT_EQ(blocks, 2);
  const unsigned fitting = 6 * 16;
  EXPECT_CUDA(cuLaunchCooperativeKernel(function("count"), fitting, 1, 1, 256, 1, 1, 0, nullptr,
                                        nullptr));
  EXPECT_ERROR(cuLaunchCooperativeKernel(function("count"), fitting + 1, 1, 1, 256, 1, 1, 0,
                                         nullptr, nullptr),
               CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
  EXPECT_CUDA(cuCtxSynchronize(nullptr));
}

// A fault ends the context: everything answers it until the context is gone.
class Faults : public Errors {
 protected:
  void TearDown() override {
    // The runtime would reset the device here.
    EXPECT_CUDA(cuDevicePrimaryCtxReset(0));
    EXPECT_CUDA(cuCtxSynchronize(nullptr));
    Errors::TearDown();
  }
  void expect_dead(CUresult error) {
    EXPECT_ERROR(cuCtxSynchronize(nullptr), error);
    EXPECT_ERROR(cuStreamQuery(nullptr), error);
    CUdeviceptr address = 0;
    EXPECT_ERROR(cuMemAlloc(&address, 16), error);
    EXPECT_ERROR(cuLaunchKernel(nullptr, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr), error);
    CUcontext current = nullptr;
    EXPECT_CUDA(cuCtxGetCurrent(&current));
    EXPECT_EQ(current, context);
  }
};

TEST_F(Faults, ComeOfStrayAddresses) {
  const CUdeviceptr data = allocate(64);
  EXPECT_EQ(store(data + 60), CUDA_SUCCESS);
  EXPECT_CUDA(cuCtxSynchronize(nullptr));
  EXPECT_EQ(store(data + 64), CUDA_SUCCESS);  // the launch itself is fine
  expect_dead(CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(Faults, ComeOfMisalignedAddresses) {
  EXPECT_EQ(store(allocate(64) + 2), CUDA_SUCCESS);
  expect_dead(CUDA_ERROR_MISALIGNED_ADDRESS);
}

TEST_F(Faults, ComeOfTraps) {
  EXPECT_EQ(launch("trapped", 1, 32), CUDA_SUCCESS);
  expect_dead(CUDA_ERROR_LAUNCH_FAILED);
}

TEST_F(Faults, WakeEveryoneWhoWaits) {
  CUstream stream = nullptr;
  CUevent event = nullptr;
  ASSERT_CUDA(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  ASSERT_CUDA(cuEventCreate(&event, 0));
  auto* gate = pinned<std::uint32_t>(1);
  ASSERT_CUDA(cuStreamWaitValue32(stream, device_address(gate), 1, CU_STREAM_WAIT_VALUE_EQ));
  ASSERT_CUDA(cuEventRecord(event, stream));
  std::thread waiter([&] {
    ASSERT_CUDA(cuCtxSetCurrent(context));
    EXPECT_ERROR(cuEventSynchronize(event), CUDA_ERROR_LAUNCH_FAILED);
  });
  EXPECT_EQ(launch("trapped", 1, 1), CUDA_SUCCESS);
  waiter.join();
  expect_dead(CUDA_ERROR_LAUNCH_FAILED);
}

TEST_F(Faults, StopAtTheContext) {
  CUcontext other = nullptr;
  ASSERT_CUDA(cuCtxCreate(&other, nullptr, 0, 0));
  ASSERT_CUDA(cuModuleLoadData(&module, kKernels));
  EXPECT_EQ(launch("trapped", 1, 1), CUDA_SUCCESS);
  EXPECT_ERROR(cuCtxSynchronize(nullptr), CUDA_ERROR_LAUNCH_FAILED);
  ASSERT_CUDA(cuCtxDestroy(other));
  ASSERT_CUDA(cuCtxSetCurrent(context));
  EXPECT_CUDA(cuCtxSynchronize(nullptr));
  EXPECT_ERROR(cuCtxDestroy(other), CUDA_ERROR_INVALID_CONTEXT);
}

TEST_F(Errors, LetASpinningKernelBeReleasedByAnotherStream) {
  CUstream first = nullptr;
  CUstream second = nullptr;
  ASSERT_CUDA(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
  ASSERT_CUDA(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
  CUdeviceptr flag = allocate(4);
  ASSERT_CUDA(cuMemsetD32(flag, 0, 1));
  ASSERT_CUDA(cuCtxSynchronize(nullptr));
  void* parameters[] = {&flag};
  ASSERT_CUDA(cuLaunchKernel(function("wait_for"), 1, 1, 1, 1, 1, 1, 0, first, parameters,
                             nullptr));
  ASSERT_CUDA(cuStreamWriteValue32(second, flag, 1, 0));
  ASSERT_CUDA(cuStreamSynchronize(first));
  EXPECT_EQ(download<std::uint32_t>(flag, 1)[0], 2U);
  // And by the host, through pinned memory.
  auto* host = pinned<std::uint32_t>(1);
  CUdeviceptr word = device_address(host);
  parameters[0] = &word;
  ASSERT_CUDA(cuLaunchKernel(function("wait_for"), 1, 1, 1, 1, 1, 1, 0, first, parameters,
                             nullptr));
  EXPECT_ERROR(cuStreamQuery(first), CUDA_ERROR_NOT_READY);
  __atomic_store_n(host, 1U, __ATOMIC_RELEASE);
  ASSERT_CUDA(cuStreamSynchronize(first));
  EXPECT_EQ(*host, 2U);
}

TEST_F(Errors, AreNamed) {
  const char* text = nullptr;
  ASSERT_CUDA(cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  EXPECT_STREQ(text, "CUDA_ERROR_ILLEGAL_ADDRESS");
  ASSERT_CUDA(cuGetErrorString(CUDA_SUCCESS, &text));
  EXPECT_NE(text, nullptr);
  EXPECT_ERROR(cuGetErrorName(static_cast<CUresult>(1000), &text), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(text, nullptr);
  EXPECT_ERROR(cuLinkCreate(0, nullptr, nullptr, nullptr), CUDA_ERROR_NOT_SUPPORTED);
}

TEST_F(Errors, TellAForkedChildThatCudaIsGone) {
  const pid_t child = fork();
  if (child == 0) {
    CUdeviceptr address = 0;
    _exit(cuda().cuMemAlloc(&address, 16) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace phos::sim::test
