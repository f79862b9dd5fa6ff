// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <thread>

#include "sim_fixture.h"

namespace phos::sim::test {
namespace {

const CUstream kPerThread = reinterpret_cast<CUstream>(2);

class Streams : public SimTest {
 protected:
  void SetUp() override {
    SimTest::SetUp();
    gate = pinned<std::uint32_t>(1);
    word = pinned<std::uint32_t>(1);
  }
  CUstream create(unsigned flags = CU_STREAM_NON_BLOCKING) {
    CUstream stream = nullptr;
    EXPECT_CUDA(cuStreamCreate(&stream, flags));
    return stream;
  }
  // Whatever follows in the stream starts only after open().
  void close(CUstream stream) {
    EXPECT_CUDA(cuStreamWaitValue32(stream, device_address(gate), 1, CU_STREAM_WAIT_VALUE_EQ));
  }
  void open() { __atomic_store_n(gate, 1U, __ATOMIC_RELEASE); }
  void write(CUstream stream, std::uint32_t value) {
    EXPECT_CUDA(cuStreamWriteValue32(stream, device_address(word), value, 0));
  }
  std::uint32_t* gate = nullptr;
  std::uint32_t* word = nullptr;
};

TEST_F(Streams, AnswerTruthfully) {
  CUstream stream = create();
  EXPECT_CUDA(cuStreamQuery(stream));
  close(stream);
  EXPECT_ERROR(cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
  open();
  EXPECT_CUDA(cuStreamSynchronize(stream));
  EXPECT_CUDA(cuStreamQuery(stream));
  EXPECT_CUDA(cuStreamDestroy(stream));
  EXPECT_ERROR(cuStreamQuery(stream), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(cuStreamDestroy(stream), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(cuStreamQuery(reinterpret_cast<CUstream>(0x1234567)), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(Streams, KeepOrderWithin) {
  CUstream stream = create();
  close(stream);
  for (std::uint32_t i = 1; i <= 100; ++i) {
    write(stream, i);
  }
  EXPECT_EQ(*word, 0U);
  open();
  ASSERT_CUDA(cuStreamSynchronize(stream));
  EXPECT_EQ(*word, 100U);
}

TEST_F(Streams, DoNotBlockEachOther) {
  CUstream first = create();
  CUstream second = create();
  close(first);
  // The second stream opens the first: one that waits must not hold up the device.
  ASSERT_CUDA(cuStreamWriteValue32(second, device_address(gate), 1, 0));
  ASSERT_CUDA(cuStreamSynchronize(first));
}

TEST_F(Streams, WaitForEventsOfOthers) {
  CUstream first = create();
  CUstream second = create();
  CUevent event = nullptr;
  ASSERT_CUDA(cuEventCreate(&event, 0));
  close(first);
  write(first, 5);
  ASSERT_CUDA(cuEventRecord(event, first));
  ASSERT_CUDA(cuStreamWaitEvent(second, event, 0));
  auto* copy = pinned<std::uint32_t>(1);
  ASSERT_CUDA(cuMemcpyDtoHAsync(copy, device_address(word), 4, second));
  EXPECT_ERROR(cuEventQuery(event), CUDA_ERROR_NOT_READY);
  open();
  ASSERT_CUDA(cuStreamSynchronize(second));
  EXPECT_EQ(*copy, 5U);
  EXPECT_CUDA(cuEventQuery(event));
}

TEST_F(Streams, ObeyTheLegacyStream) {
  CUstream blocking = create(CU_STREAM_DEFAULT);
  CUstream free = create(CU_STREAM_NON_BLOCKING);
  close(blocking);
  write(nullptr, 1);     // must wait for `blocking`
  write(blocking, 2);    // must wait for the legacy stream
  EXPECT_ERROR(cuStreamQuery(nullptr), CUDA_ERROR_NOT_READY);
  ASSERT_CUDA(cuStreamSynchronize(free));  // must not
  EXPECT_EQ(*word, 0U);
  open();
  ASSERT_CUDA(cuStreamSynchronize(nullptr));
  ASSERT_CUDA(cuCtxSynchronize(nullptr));
  EXPECT_EQ(*word, 2U);
}

TEST_F(Streams, ThreadsHaveDefaultStreamsOfTheirOwn) {
  close(kPerThread);
  std::thread other([this] {
    ASSERT_CUDA(cuCtxSetCurrent(context));
    EXPECT_CUDA(cuStreamQuery(kPerThread));
    EXPECT_CUDA(cuStreamSynchronize(kPerThread));
  });
  other.join();
  EXPECT_ERROR(cuStreamQuery(kPerThread), CUDA_ERROR_NOT_READY);
  {
    const PerThreadDefaultStream mode;
    EXPECT_ERROR(cuStreamQuery(nullptr), CUDA_ERROR_NOT_READY);
  }
  open();
  EXPECT_CUDA(cuStreamSynchronize(kPerThread));
}

TEST_F(Streams, CallHostFunctionsInOrder) {
  struct Shared {
    std::atomic<int> calls{0};
    std::uint32_t* word;
    std::uint32_t seen = 0;
  } shared{.word = word};
  CUstream stream = create();
  write(stream, 9);
  ASSERT_CUDA(cuLaunchHostFunc(
      stream,
      [](void* data) {
        auto* state = static_cast<Shared*>(data);
        state->seen = *state->word;
        ++state->calls;
      },
      &shared));
  write(stream, 10);
  ASSERT_CUDA(cuStreamSynchronize(stream));
  EXPECT_EQ(shared.calls, 1);
  EXPECT_EQ(shared.seen, 9U);
}

TEST_F(Streams, RunOthersWhileAHostFunctionBlocks) {
  struct Shared {
    std::atomic<bool> go{false};
  } shared;
  CUstream first = create();
  CUstream second = create();
  ASSERT_CUDA(cuLaunchHostFunc(
      first,
      [](void* data) {
        while (!static_cast<Shared*>(data)->go) {
          std::this_thread::yield();
        }
      },
      &shared));
  write(second, 3);
  ASSERT_CUDA(cuStreamSynchronize(second));
  EXPECT_ERROR(cuStreamQuery(first), CUDA_ERROR_NOT_READY);
  shared.go = true;
  ASSERT_CUDA(cuStreamSynchronize(first));
}

TEST_F(Streams, FinishTheirWorkAfterTheyAreDestroyed) {
  CUstream stream = create();
  close(stream);
  write(stream, 4);
  ASSERT_CUDA(cuStreamDestroy(stream));
  open();
  ASSERT_CUDA(cuCtxSynchronize(nullptr));
  EXPECT_EQ(*word, 4U);
}

TEST_F(Streams, TakeManyCommandsBehindAWait) {
  CUstream stream = create();
  close(stream);
  for (std::uint32_t i = 0; i < 5000; ++i) {
    write(stream, i);
  }
  open();
  ASSERT_CUDA(cuStreamSynchronize(stream));
  EXPECT_EQ(*word, 4999U);
}

TEST_F(Streams, CompareWordsInEveryWay) {
  CUstream stream = create();
  auto* wide = pinned<std::uint64_t>(1);
  *wide = 0xF0;
  const CUdeviceptr address = device_address(wide);
  ASSERT_CUDA(cuStreamWaitValue64(stream, address, 0xF0, CU_STREAM_WAIT_VALUE_EQ));
  ASSERT_CUDA(cuStreamWaitValue64(stream, address, 0x10, CU_STREAM_WAIT_VALUE_GEQ));
  ASSERT_CUDA(cuStreamWaitValue64(stream, address, 0x30, CU_STREAM_WAIT_VALUE_AND));
  ASSERT_CUDA(cuStreamWaitValue64(stream, address, 0x0F, CU_STREAM_WAIT_VALUE_NOR));
  ASSERT_CUDA(cuStreamSynchronize(stream));
  EXPECT_ERROR(cuStreamWaitValue32(stream, address + 2, 0, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(cuStreamWaitValue32(stream, 0x1000, 0, 0), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Streams, KnowTheirFacts) {
  CUstream stream = nullptr;
  ASSERT_CUDA(cuStreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, -100));
  int priority = 0;
  unsigned flags = 0;
  CUcontext found = nullptr;
  unsigned long long id = 0;
  unsigned long long other = 0;
  EXPECT_CUDA(cuStreamGetPriority(stream, &priority));
  EXPECT_EQ(priority, -5);
  EXPECT_CUDA(cuStreamGetFlags(stream, &flags));
  EXPECT_EQ(flags, static_cast<unsigned>(CU_STREAM_NON_BLOCKING));
  EXPECT_CUDA(cuStreamGetCtx(stream, &found, nullptr));
  EXPECT_EQ(found, context);
  EXPECT_CUDA(cuStreamGetId(stream, &id));
  EXPECT_CUDA(cuStreamGetId(nullptr, &other));
  EXPECT_NE(id, other);
  EXPECT_ERROR(cuStreamCreate(&stream, 0x80), CUDA_ERROR_INVALID_VALUE);
}

}  // namespace
}  // namespace phos::sim::test
