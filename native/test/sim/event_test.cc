// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "sim_fixture.h"

namespace phos::sim::test {
namespace {

class Events : public SimTest {
 protected:
  CUevent create(unsigned flags = 0) {
    CUevent event = nullptr;
    EXPECT_CUDA(cuEventCreate(&event, flags));
    return event;
  }
};

TEST_F(Events, AreDoneUntilTheyAreRecorded) {
  CUevent event = create();
  EXPECT_CUDA(cuEventQuery(event));
  EXPECT_CUDA(cuEventSynchronize(event));
  EXPECT_CUDA(cuStreamWaitEvent(nullptr, event, 0));
  EXPECT_CUDA(cuEventDestroy(event));
  EXPECT_ERROR(cuEventQuery(event), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(cuEventDestroy(event), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(Events, MeasureTime) {
  CUevent start = create();
  CUevent end = create();
  float milliseconds = -1;
  EXPECT_ERROR(cuEventElapsedTime(&milliseconds, start, end), CUDA_ERROR_INVALID_HANDLE);
  auto* gate = pinned<std::uint32_t>(1);
  ASSERT_CUDA(cuEventRecord(start, nullptr));
  ASSERT_CUDA(cuStreamWaitValue32(nullptr, device_address(gate), 1, CU_STREAM_WAIT_VALUE_EQ));
  ASSERT_CUDA(cuEventRecord(end, nullptr));
  EXPECT_ERROR(cuEventElapsedTime(&milliseconds, start, end), CUDA_ERROR_NOT_READY);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  __atomic_store_n(gate, 1U, __ATOMIC_RELEASE);
  ASSERT_CUDA(cuEventSynchronize(end));
  ASSERT_CUDA(cuEventElapsedTime(&milliseconds, start, end));
  EXPECT_GE(milliseconds, 5.0F);
  CUevent untimed = create(CU_EVENT_DISABLE_TIMING);
  ASSERT_CUDA(cuEventRecord(untimed, nullptr));
  EXPECT_ERROR(cuEventElapsedTime(&milliseconds, start, untimed), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(Events, MeanTheirNewestRecord) {
  CUstream stream = nullptr;
  ASSERT_CUDA(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUstream idle = nullptr;
  ASSERT_CUDA(cuStreamCreate(&idle, CU_STREAM_NON_BLOCKING));
  auto* gate = pinned<std::uint32_t>(1);
  CUevent event = create();
  ASSERT_CUDA(cuStreamWaitValue32(stream, device_address(gate), 1, CU_STREAM_WAIT_VALUE_EQ));
  ASSERT_CUDA(cuEventRecord(event, stream));
  EXPECT_ERROR(cuEventQuery(event), CUDA_ERROR_NOT_READY);
  ASSERT_CUDA(cuEventRecord(event, idle));
  EXPECT_CUDA(cuEventQuery(event));
  __atomic_store_n(gate, 1U, __ATOMIC_RELEASE);
  ASSERT_CUDA(cuStreamSynchronize(stream));
  EXPECT_CUDA(cuEventQuery(event));
}

TEST_F(Events, MayBeDestroyedWhilePending) {
  CUstream stream = nullptr;
  CUstream other = nullptr;
  ASSERT_CUDA(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  ASSERT_CUDA(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
  auto* gate = pinned<std::uint32_t>(2);
  CUevent event = create();
  ASSERT_CUDA(cuStreamWaitValue32(stream, device_address(gate), 1, CU_STREAM_WAIT_VALUE_EQ));
  ASSERT_CUDA(cuEventRecord(event, stream));
  ASSERT_CUDA(cuStreamWaitEvent(other, event, 0));
  ASSERT_CUDA(cuEventDestroy(event));
  ASSERT_CUDA(cuStreamWriteValue32(other, device_address(gate + 1), 8, 0));
  EXPECT_EQ(gate[1], 0U);
  __atomic_store_n(gate, 1U, __ATOMIC_RELEASE);
  ASSERT_CUDA(cuStreamSynchronize(other));
  EXPECT_EQ(gate[1], 8U);
}

TEST_F(Events, WakeThreadsThatWait) {
  auto* gate = pinned<std::uint32_t>(1);
  CUevent event = create(CU_EVENT_BLOCKING_SYNC);
  ASSERT_CUDA(cuStreamWaitValue32(nullptr, device_address(gate), 1, CU_STREAM_WAIT_VALUE_EQ));
  ASSERT_CUDA(cuEventRecord(event, nullptr));
  std::thread waiter([&] {
    ASSERT_CUDA(cuCtxSetCurrent(context));
    EXPECT_CUDA(cuEventSynchronize(event));
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  __atomic_store_n(gate, 1U, __ATOMIC_RELEASE);
  waiter.join();
}

TEST_F(Events, RefuseWhatMakesNoSense) {
  CUevent event = nullptr;
  EXPECT_ERROR(cuEventCreate(&event, 0x100), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuEventCreate(nullptr, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuEventRecord(nullptr, nullptr), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(cuEventRecord(create(), reinterpret_cast<CUstream>(77)),
               CUDA_ERROR_INVALID_HANDLE);
}

}  // namespace
}  // namespace phos::sim::test
