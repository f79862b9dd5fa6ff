// SPDX-License-Identifier: Apache-2.0
// The drain over a real ring and a device that the test holds and lets go.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "executor/executor.h"
#include "executor/window.h"
#include "fake_driver.h"
#include "gen/codec.h"
#include "phos/handle.h"
#include "ring/producer.h"
#include "ring/reply.h"

namespace phos::executor {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 30s;

std::uint64_t wire(HandleType type, std::uint32_t index) {
  return make_handle(static_cast<std::uint8_t>(type), 1, index);
}

class DrainTest : public testing::Test {
 protected:
  void SetUp() override {
    bytes_ = ring_bytes(kRingDataBytes);
    void* base = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(base, MAP_FAILED);
    header_ = new (base) RingHeader{};
    const std::uint8_t id[16] = {1};
    geometry_ = ring::format(header_, kRingDataBytes, id, 1);
    producer_.open(header_, geometry_);
    replies_.open(header_, geometry_);
    ExecutorOptions options;
    options.driver = driver_.table();
    options.driver_name = "fake";
    executor_ = std::make_unique<Executor>(options, [this](const ExecutorEvent& event) {
      const std::lock_guard lock(events_mutex_);
      events_.push_back(event);
    });
    executor_->start();
    ASSERT_TRUE(executor_->attach_ring(base, bytes_));
    thread_ = std::thread([this] { end_ = executor_->run(0).end; });
  }
  void TearDown() override {
    executor_->stop();
    thread_.join();
    EXPECT_EQ(end_, DrainEnd::stopped);
    executor_.reset();
    ::munmap(header_, bytes_);
  }

  template <class Request>
  void post(const Request& request) {
    std::uint8_t* payload = nullptr;
    ring::RecordFields fields;
    fields.op = static_cast<std::uint16_t>(Request::kCall);
    ASSERT_EQ(producer_.begin(fields, sizeof(request), &payload), 0U);
    std::memcpy(payload, &request, sizeof(request));
    producer_.commit();
  }
  // A sync call of "another client thread": its slot tells when it is answered.
  template <class Request>
  std::uint32_t ask(std::uint32_t slot, const Request& request) {
    std::uint8_t* payload = nullptr;
    ring::RecordFields fields;
    fields.op = static_cast<std::uint16_t>(Request::kCall);
    fields.flags = kRecordSync;
    fields.reply_slot = slot;
    fields.sequence = replies_.next_sequence(slot);
    EXPECT_EQ(producer_.begin(fields, sizeof(request), &payload), 0U);
    std::memcpy(payload, &request, sizeof(request));
    producer_.commit();
    return fields.sequence;
  }
  bool answered(std::uint32_t slot, std::uint32_t sequence) {
    return slots()[slot].sequence.load(std::memory_order_acquire) == sequence;
  }
  ReplySlot* slots() { return ring::reply_slots_of(header_); }
  template <class Request>
  CUresult call(std::uint32_t slot, const Request& request) {
    const std::uint32_t sequence = ask(slot, request);
    EXPECT_TRUE(eventually([&] { return answered(slot, sequence); })) << "no answer";
    return static_cast<CUresult>(slots()[slot].status);
  }
  template <class Condition>
  static bool eventually(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(200us);
    }
    return true;
  }
  std::uint64_t make_stream(std::uint32_t index) {
    codec::Req_cuStreamCreate request{};
    request.phStream = wire(HandleType::stream, index);
    EXPECT_EQ(call(0, request), CUDA_SUCCESS);
    return request.phStream;
  }
  std::uint64_t make_event(std::uint32_t index) {
    codec::Req_cuEventCreate request{};
    request.phEvent = wire(HandleType::event, index);
    EXPECT_EQ(call(0, request), CUDA_SUCCESS);
    return request.phEvent;
  }
  CUstream real_stream(std::uint64_t handle) {
    void* real = nullptr;
    EXPECT_EQ(executor_->session().resolve(HandleType::stream, handle, false, &real),
              CUDA_SUCCESS);
    return static_cast<CUstream>(real);
  }
  std::uint64_t allocate(std::uint64_t bytes) {
    codec::Req_cuMemAlloc request{bytes};
    EXPECT_EQ(call(0, request), CUDA_SUCCESS);
    codec::Rep_cuMemAlloc answer{};
    std::memcpy(&answer, slots()[0].data, sizeof(answer));
    return answer.dptr;
  }
  codec::Req_phos_memset set(std::uint64_t address, std::uint64_t stream) {
    codec::Req_phos_memset request{};
    request.dst = address;
    request.element_bytes = 1;
    request.width = 16;
    request.height = 1;
    request.stream = stream;
    return request;
  }

  test::FakeDriver driver_;
  std::size_t bytes_ = 0;
  RingHeader* header_ = nullptr;
  ring::Geometry geometry_{};
  ring::Producer producer_;
  ring::ReplyTable replies_;
  std::unique_ptr<Executor> executor_;
  std::thread thread_;
  DrainEnd end_ = DrainEnd::slice;
  std::mutex events_mutex_;
  std::vector<ExecutorEvent> events_;
};

TEST_F(DrainTest, AnswersAPing) {
  EXPECT_EQ(call(3, codec::Req_phos_ping{0x1234}), CUDA_SUCCESS);
  codec::Rep_phos_ping answer{};
  std::memcpy(&answer, slots()[3].data, sizeof(answer));
  EXPECT_EQ(answer.echo, 0x1234U);
}

TEST_F(DrainTest, AWaitOfOneThreadDoesNotDelayAnother) {
  const std::uint64_t stream = make_stream(0);
  const std::uint64_t memory = allocate(4096);
  driver_.hold(real_stream(stream));
  post(set(memory, stream));
  const std::uint32_t waiting = ask(1, codec::Req_cuStreamSynchronize{stream});
  EXPECT_EQ(call(2, codec::Req_phos_ping{1}), CUDA_SUCCESS);
  EXPECT_EQ(call(2, codec::Req_cuStreamQuery{stream}), CUDA_ERROR_NOT_READY);
  EXPECT_FALSE(answered(1, waiting));
  driver_.release(real_stream(stream));
  EXPECT_TRUE(eventually([&] { return answered(1, waiting); }));
  EXPECT_EQ(slots()[1].status, static_cast<std::uint32_t>(CUDA_SUCCESS));
}

TEST_F(DrainTest, AWaitIsForWhatCameBeforeItOnly) {
  const std::uint64_t stream = make_stream(0);
  const std::uint64_t memory = allocate(4096);
  post(set(memory, stream));
  EXPECT_EQ(call(1, codec::Req_cuStreamSynchronize{stream}), CUDA_SUCCESS);
  EXPECT_EQ(driver_.count("set@" + std::to_string(
                              reinterpret_cast<std::uint64_t>(real_stream(stream)))),
            1U);
}

TEST_F(DrainTest, FiveThousandCommandsBehindAHeldStreamDoNotDeadlock) {
  const std::uint64_t held = make_stream(0);
  const std::uint64_t other = make_stream(1);
  const std::uint64_t memory = allocate(4096);
  driver_.hold(real_stream(held));
  for (int i = 0; i < 5000; ++i) post(set(memory, held));
  const std::uint32_t waiting = ask(1, codec::Req_cuStreamSynchronize{held});
  // Another thread's stream goes on, and so do its waits: it is the one that lets the first go.
  for (int i = 0; i < 1000; ++i) post(set(memory, other));
  EXPECT_EQ(call(2, codec::Req_cuStreamSynchronize{other}), CUDA_SUCCESS);
  EXPECT_FALSE(answered(1, waiting));
  const std::string name =
      "set@" + std::to_string(reinterpret_cast<std::uint64_t>(real_stream(held)));
  EXPECT_LE(driver_.count(name), kMaxOutstanding);
  EXPECT_EQ(call(2, codec::Req_cuStreamQuery{held}), CUDA_ERROR_NOT_READY);
  driver_.release(real_stream(held));
  EXPECT_TRUE(eventually([&] { return answered(1, waiting); }));
  EXPECT_EQ(driver_.count(name), 5000U);
  EXPECT_EQ(header_->deferred_errors.load(), 0U);
}

// Commands that keep coming keep the drain's lock taken; whoever asks for it must get it.
TEST_F(DrainTest, ControlCallsGetTheirTurnWhileCommandsKeepComing) {
  const std::uint64_t stream = make_stream(0);
  const std::uint64_t event = make_event(0);
  std::atomic<bool> enough{false};
  std::thread caller([&] {
    while (!enough.load()) post(codec::Req_cuEventRecord{event, stream});
  });
  for (int i = 0; i < 200; ++i) {
    const SessionLock lock(executor_->session());
    EXPECT_NE(executor_->session().find(HandleType::event, event), nullptr);
  }
  enough.store(true);
  caller.join();
  EXPECT_EQ(call(1, codec::Req_cuStreamSynchronize{stream}), CUDA_SUCCESS);
}

TEST_F(DrainTest, ADrainAtRestHasGivenAllSpaceBack) {
  const std::uint64_t stream = make_stream(0);
  const std::uint64_t event = make_event(0);
  for (int i = 0; i < 300; ++i) post(codec::Req_cuEventRecord{event, stream});
  EXPECT_EQ(call(1, codec::Req_phos_ping{1}), CUDA_SUCCESS);
  EXPECT_TRUE(eventually([&] { return header_->tail.load() == header_->head.load(); }));
}

// The drain remembers the stream of the last command; each is counted for its own all the same.
TEST_F(DrainTest, AFullStreamDoesNotHoldBackTheOneItTakesTurnsWith) {
  const std::uint64_t held = make_stream(0);
  const std::uint64_t other = make_stream(1);
  const std::uint64_t memory = allocate(4096);
  driver_.hold(real_stream(held));
  for (std::uint32_t i = 0; i < 2 * kMaxOutstanding; ++i) {
    post(set(memory, held));
    post(set(memory, other));
  }
  EXPECT_EQ(call(1, codec::Req_cuStreamSynchronize{other}), CUDA_SUCCESS);
  const auto count = [&](std::uint64_t stream) {
    return driver_.count("set@" + std::to_string(
        reinterpret_cast<std::uint64_t>(real_stream(stream))));
  };
  EXPECT_EQ(count(other), 2 * kMaxOutstanding);
  EXPECT_EQ(count(held), kMaxOutstanding);
  driver_.release(real_stream(held));
  EXPECT_EQ(call(1, codec::Req_cuStreamSynchronize{held}), CUDA_SUCCESS);
  EXPECT_EQ(count(held), 2 * kMaxOutstanding);
}

TEST_F(DrainTest, WhatWaitsForAParkedEventWaitsToo) {
  const std::uint64_t held = make_stream(0);
  const std::uint64_t other = make_stream(1);
  const std::uint64_t event = make_event(0);
  const std::uint64_t memory = allocate(4096);
  driver_.hold(real_stream(held));
  for (int i = 0; i < 300; ++i) post(set(memory, held));
  post(codec::Req_cuEventRecord{event, held});
  codec::Req_cuStreamWaitEvent wait{};
  wait.hStream = other;
  wait.hEvent = event;
  post(wait);
  post(set(memory, other));
  EXPECT_EQ(call(2, codec::Req_cuEventQuery{event}), CUDA_ERROR_NOT_READY);
  const std::uint32_t waiting = ask(1, codec::Req_cuEventSynchronize{event});
  EXPECT_EQ(call(2, codec::Req_phos_ping{1}), CUDA_SUCCESS);
  const std::string name =
      "set@" + std::to_string(reinterpret_cast<std::uint64_t>(real_stream(other)));
  EXPECT_EQ(driver_.count(name), 0U) << "it would run before the event it waits for";
  EXPECT_FALSE(answered(1, waiting));
  driver_.release(real_stream(held));
  EXPECT_TRUE(eventually([&] { return answered(1, waiting); }));
  EXPECT_TRUE(eventually([&] { return driver_.count(name) == 1; }));
}

TEST_F(DrainTest, ADestroyComesAfterWhatIsParkedAndIsAnsweredAtOnce) {
  const std::uint64_t held = make_stream(0);
  const std::uint64_t memory = allocate(4096);
  const CUstream real = real_stream(held);
  driver_.hold(real);
  for (int i = 0; i < 400; ++i) post(set(memory, held));
  EXPECT_EQ(call(2, codec::Req_cuStreamDestroy{held}), CUDA_SUCCESS);
  const std::string number = std::to_string(reinterpret_cast<std::uint64_t>(real));
  EXPECT_EQ(driver_.count("destroy@" + number), 0U);
  driver_.release(real);
  EXPECT_TRUE(eventually([&] { return driver_.count("destroy@" + number) == 1; }));
  EXPECT_EQ(driver_.count("set@" + number), 400U);
}

TEST_F(DrainTest, CountsErrorsOfAsyncCommandsByName) {
  const std::uint64_t memory = allocate(4096);
  driver_.fail_next("set", CUDA_ERROR_INVALID_VALUE);
  post(set(memory, 0));
  EXPECT_EQ(call(2, codec::Req_phos_ping{1}), CUDA_SUCCESS);
  const ExecutorStatus status = executor_->status();
  EXPECT_EQ(status.deferred_errors, 1U);
  EXPECT_EQ(status.last_deferred_error, "phos_memset answered 1");
}

TEST_F(DrainTest, AnErrorOfTheContextStays) {
  const std::uint64_t memory = allocate(4096);
  driver_.fail_next("set", CUDA_ERROR_ILLEGAL_ADDRESS);
  post(set(memory, 0));
  EXPECT_TRUE(eventually([&] { return header_->poison.load() != 0; }));
  EXPECT_EQ(header_->poison.load(), static_cast<std::uint32_t>(CUDA_ERROR_ILLEGAL_ADDRESS));
  EXPECT_EQ(executor_->status().context_error,
            static_cast<std::uint32_t>(CUDA_ERROR_ILLEGAL_ADDRESS));
  EXPECT_EQ(executor_->status().deferred_errors, 0U);
}

TEST_F(DrainTest, OutOfMemoryWaitsForFreedMemoryInUse) {
  // The fake device has 1 GiB; the limit of the session is the device's own, so fail the create.
  const std::uint64_t stream = make_stream(0);
  const std::uint64_t memory = allocate(4U << 20);
  driver_.hold(real_stream(stream));
  post(set(memory, stream));
  post(codec::Req_cuMemFree{memory});
  EXPECT_EQ(call(2, codec::Req_phos_ping{1}), CUDA_SUCCESS);
  driver_.fail_next("create", CUDA_ERROR_OUT_OF_MEMORY);
  const std::uint32_t waiting = ask(1, codec::Req_cuMemAlloc{8U << 20});
  EXPECT_EQ(call(2, codec::Req_phos_ping{1}), CUDA_SUCCESS);
  EXPECT_FALSE(answered(1, waiting));
  driver_.release(real_stream(stream));
  EXPECT_TRUE(eventually([&] { return answered(1, waiting); }));
  EXPECT_EQ(slots()[1].status, static_cast<std::uint32_t>(CUDA_SUCCESS));
}

TEST_F(DrainTest, CutsOffAClientThatNamesForeignMemory) {
  codec::Req_phos_copy request{};
  request.dst = reinterpret_cast<std::uint64_t>(&request);
  request.src = allocate(4096);
  request.bytes = 16;
  post(request);
  EXPECT_TRUE(eventually([&] { return header_->poison.load() != 0; }));
}

TEST_F(DrainTest, CutsOffAClientWithABrokenRing) {
  header_->head.store(header_->head.load() + 7);
  EXPECT_TRUE(eventually([&] { return header_->poison.load() != 0; }));
}

TEST_F(DrainTest, StopsAtTheCutUntilTheGateOpens) {
  const std::uint64_t memory = allocate(4096);
  executor_->close_gate();
  const std::uint64_t cut = executor_->read_head();
  // A thread that had passed the gate publishes still: it belongs after the cut.
  header_->gate.store(0);
  post(set(memory, 0));
  const DrainToResult result = executor_->drain_to(cut, 10'000);
  EXPECT_TRUE(result.reached) << result.waiting_for;
  EXPECT_EQ(result.position, cut);
  EXPECT_EQ(header_->tail.load(), cut);
  EXPECT_EQ(driver_.count("set@0"), 0U);
  executor_->open_gate();
  EXPECT_TRUE(eventually([&] { return driver_.count("set@0") == 1; }));
}

TEST_F(DrainTest, ADrainThatCannotFinishSaysWhatItWaitsFor) {
  const std::uint64_t stream = make_stream(0);
  const std::uint64_t memory = allocate(4096);
  driver_.hold(real_stream(stream));
  post(set(memory, stream));
  executor_->close_gate();
  const std::uint64_t cut = executor_->read_head();
  const DrainToResult result = executor_->drain_to(cut, 20);
  EXPECT_FALSE(result.reached);
  EXPECT_NE(result.waiting_for.find("stream"), std::string::npos) << result.waiting_for;
  driver_.release(real_stream(stream));
  EXPECT_TRUE(executor_->drain_to(cut, 10'000).reached);
  executor_->open_gate();
}

TEST_F(DrainTest, SuspendsAndResumesWithTheSameBytes) {
  const std::uint64_t memory = allocate(3U << 20);
  std::memset(reinterpret_cast<void*>(memory), 0x5A, 1000);
  EXPECT_THROW(executor_->suspend({}), Failure) << "the gate is open";
  executor_->close_gate();
  ASSERT_TRUE(executor_->drain_to(executor_->read_head(), 10'000).reached);
  const SuspendResult suspended = executor_->suspend({});
  EXPECT_EQ(suspended.device_bytes, 2 * kChunkBytes);
  EXPECT_EQ(suspended.host_bytes, kChunkBytes);
  EXPECT_EQ(driver_.mapped_bytes(), 0U);
  EXPECT_THROW(executor_->open_gate(), Failure);
  driver_.fail_next("create", CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_THROW(executor_->resume({}), Failure) << "it stays suspended";
  executor_->resume({});
  EXPECT_EQ(reinterpret_cast<std::uint8_t*>(memory)[999], 0x5A);
  EXPECT_EQ(reinterpret_cast<std::uint8_t*>(memory)[1000], 0);
  executor_->open_gate();
  EXPECT_EQ(call(2, codec::Req_phos_ping{1}), CUDA_SUCCESS);
}

}  // namespace
}  // namespace phos::executor
