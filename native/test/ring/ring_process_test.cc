// SPDX-License-Identifier: Apache-2.0
// The ring between two processes: order, sleep and wake, death at any instant.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "ring/alive.h"
#include "ring_memory.h"

namespace phos::ring::test {
namespace {

int wait_for(pid_t child) {
  int status = 0;
  EXPECT_EQ(child, waitpid(child, &status, 0));
  return status;
}

TEST(RingProcess, SyncCallsReachAnotherProcessAsleepOrAwake) {
  SharedRing ring(1U << 16);
  constexpr std::uint32_t kCalls = 300;
  const pid_t child = fork();
  if (child == 0) {
    Producer producer;
    producer.open(ring.header(), ring.geometry());
    ReplyTable replies;
    replies.open(ring.header(), ring.geometry());
    const std::uint32_t slot = replies.claim();
    std::uint32_t bad = 0;
    for (std::uint32_t i = 0; i < kCalls; ++i) {
      if (i % 50 == 49) usleep(30'000);  // long enough that the consumer sleeps
      const std::uint32_t sequence = replies.next_sequence(slot);
      if (put(producer, {.op = 1, .flags = kRecordSync, .reply_slot = slot, .sequence = sequence},
              &i, sizeof(i)) != 0) {
        ++bad;
      }
      std::uint32_t status = 0;
      std::uint32_t bytes = 0;
      if (replies.wait(slot, sequence, &status, &bytes) != 0 || status != i + 1) ++bad;
    }
    _exit(bad == 0 ? 0 : 1);
  }
  Consumer consumer;
  ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
  for (std::uint32_t done = 0; done < kCalls;) {
    Record record;
    if (consumer.next(&record) != Next::record) {
      consumer.wait(5'000'000'000);
      continue;
    }
    std::uint32_t i = 0;
    std::memcpy(&i, record.payload.data(), sizeof(i));
    ASSERT_EQ(done, i);
    ++done;
    if (done % 70 == 0) usleep(30'000);  // long enough that the client sleeps
    consumer.publish_tail();
    ASSERT_TRUE(reply(ring.header(), ring.geometry(), record.header, i + 1, nullptr, 0));
  }
  EXPECT_EQ(0, wait_for(child));
}

TEST(RingProcess, AProducerKilledAtAnyInstantLeavesAReadableRing) {
  std::mt19937 random(7);
  std::uint64_t taken = 0;
  for (int round = 0; round < 40; ++round) {
    SharedRing ring(1U << 16);
    const pid_t child = fork();
    if (child == 0) {
      Producer producer;
      producer.open(ring.header(), ring.geometry());
      std::uint8_t bytes[200];
      for (std::uint32_t i = 0;; ++i) {
        std::memset(bytes, static_cast<int>(i & 0xFF), sizeof(bytes));
        put(producer, {.op = 1, .sequence = i}, bytes, 1 + i % sizeof(bytes));
      }
    }
    Consumer consumer;
    ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
    const std::uint32_t enough = 2000 + static_cast<std::uint32_t>(random()) % 3000;
    std::uint32_t expected = 0;
    bool killed = false;
    for (;;) {
      Record record;
      const Next next = consumer.next(&record);
      if (next == Next::record) {
        ASSERT_EQ(expected, record.header.sequence);
        ASSERT_EQ(static_cast<std::uint8_t>(expected), record.payload[0]);
        if (++expected == enough) {
          kill(child, SIGKILL);
          wait_for(child);
          killed = true;
        }
        if (expected % 64 == 0) consumer.publish_tail();
        continue;
      }
      ASSERT_EQ(Next::empty, next);
      if (killed) break;
      consumer.publish_tail();
    }
    EXPECT_EQ(consumer.position(), consumer.head());
    taken += expected;
  }
  EXPECT_GT(taken, 40U * 2000U);
}

TEST(RingProcess, TheAliveWordTellsAKilledProcess) {
  SharedRing ring(4096);
  auto& word = ring.header()->alive;
  EXPECT_EQ(Life::never_held, life_of(word));
  const pid_t child = fork();
  if (child == 0) {
    std::thread agent([&] {
      static AliveHolder holder;
      if (!holder.hold(word)) _exit(1);
      for (;;) pause();
    });
    agent.join();
    _exit(2);
  }
  while (life_of(word) == Life::never_held) yield_cpu();
  EXPECT_EQ(Life::alive, wait_for_death(word, 5'000'000));
  kill(child, SIGKILL);
  Life life = Life::alive;
  for (int slices = 0; slices < 1000 && life == Life::alive; ++slices) {
    life = wait_for_death(word, kSliceNs);
  }
  EXPECT_EQ(Life::died, life);
  wait_for(child);
}

TEST(RingProcess, ACleanGoodByeIsNoDeath) {
  SharedRing ring(4096);
  auto& word = ring.header()->alive;
  std::thread agent([&] {
    AliveHolder holder;
    ASSERT_TRUE(holder.hold(word));
    holder.release(word);
  });
  agent.join();
  EXPECT_EQ(Life::never_held, life_of(word));
}

}  // namespace
}  // namespace phos::ring::test
