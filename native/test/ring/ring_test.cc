// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <thread>
#include <vector>

#include "ring_memory.h"

namespace phos::ring::test {
namespace {

constexpr std::uint32_t kSmall = 4096;

TEST(Ring, OneRecordComesOutAsItWentIn) {
  SharedRing ring(kSmall);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  const std::array<std::uint8_t, 5> sent{9, 8, 7, 6, 5};
  ASSERT_EQ(0U, put(producer, {.op = 42, .flags = 1, .reply_slot = 3, .sequence = 7,
                               .context = 0x77}, sent.data(), sent.size()));
  Consumer consumer;
  ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
  Record record;
  ASSERT_EQ(Next::record, consumer.next(&record));
  EXPECT_EQ(42, record.header.op);
  EXPECT_EQ(1, record.header.flags);
  EXPECT_EQ(3U, record.header.reply_slot);
  EXPECT_EQ(7U, record.header.sequence);
  EXPECT_EQ(0x77U, record.header.context);
  EXPECT_EQ(0U, record.position);
  ASSERT_GE(record.payload.size(), sent.size());
  EXPECT_TRUE(std::equal(sent.begin(), sent.end(), record.payload.begin()));
  EXPECT_EQ(Next::empty, consumer.next(&record));
}

TEST(Ring, RecordsNeverWrapAndAllArriveInOrder) {
  SharedRing ring(kSmall);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  Consumer consumer;
  ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
  std::vector<std::uint8_t> payload(producer.max_payload_bytes());
  Record record;
  for (std::uint32_t i = 0; i < 5000; ++i) {
    const std::size_t size = (i * 37) % producer.max_payload_bytes();
    std::fill_n(payload.begin(), size, static_cast<std::uint8_t>(i));
    ASSERT_EQ(0U, put(producer, {.op = 1, .sequence = i}, payload.data(), size));
    ASSERT_EQ(Next::record, consumer.next(&record));
    ASSERT_EQ(i, record.header.sequence);
    ASSERT_GE(record.payload.size(), size);
    for (std::size_t b = 0; b < size; ++b) {
      ASSERT_EQ(static_cast<std::uint8_t>(i), record.payload[b]);
    }
    consumer.publish_tail();
  }
  EXPECT_EQ(consumer.position(), producer.position());
}

TEST(Ring, ATooLargeRecordIsRefusedAndTheLockIsFree) {
  SharedRing ring(kSmall);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  std::uint8_t* payload = nullptr;
  EXPECT_EQ(kRecordTooBig,
            producer.begin({.op = 1}, producer.max_payload_bytes() + 1, &payload));
  EXPECT_EQ(0U, producer.begin({.op = 1}, producer.max_payload_bytes(), &payload));
  producer.abandon();
  EXPECT_EQ(0U, producer.position());
}

TEST(Ring, TheConsumerStopsAtTheCut) {
  SharedRing ring(kSmall);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  Consumer consumer;
  ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
  ASSERT_EQ(0U, put(producer, {.op = 1}, nullptr, 0));
  const std::uint64_t cut = producer.position();
  ASSERT_EQ(0U, put(producer, {.op = 2}, nullptr, 0));
  Record record;
  EXPECT_EQ(Next::record, consumer.next(&record, cut));
  EXPECT_EQ(Next::at_limit, consumer.next(&record, cut));
  EXPECT_EQ(Next::record, consumer.next(&record));
  EXPECT_EQ(2, record.header.op);
}

TEST(Ring, ARestoredConsumerGoesOnAtTheTail) {
  SharedRing ring(kSmall);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  Consumer first;
  ASSERT_EQ(Fault::none, first.open(ring.header(), ring.bytes()));
  ASSERT_EQ(0U, put(producer, {.op = 1}, nullptr, 0));
  ASSERT_EQ(0U, put(producer, {.op = 2}, nullptr, 0));
  Record record;
  ASSERT_EQ(Next::record, first.next(&record));
  first.publish_tail();
  Consumer second;
  ASSERT_EQ(Fault::none, second.open(ring.header(), ring.bytes()));
  ASSERT_EQ(Next::record, second.next(&record));
  EXPECT_EQ(2, record.header.op);
}

TEST(Ring, APoisonedRingAnswersItsWord) {
  SharedRing ring(kSmall);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  poison(ring.header(), ring.geometry(), 46);
  poison(ring.header(), ring.geometry(), 999);
  EXPECT_EQ(46U, put(producer, {.op = 1}, nullptr, 0));
}

TEST(Ring, PoisonEndsAWaitForSpaceAndAWaitForAReply) {
  SharedRing ring(kSmall);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  ReplyTable replies;
  replies.open(ring.header(), ring.geometry());
  const std::uint32_t slot = replies.claim();
  std::thread waiter([&] {
    std::uint32_t status = 0;
    std::uint32_t bytes = 0;
    EXPECT_EQ(7U, replies.wait(slot, replies.next_sequence(slot), &status, &bytes));
  });
  std::thread filler([&] {
    std::uint32_t status = 0;
    while (status == 0) status = put(producer, {.op = 1}, nullptr, 0);
    EXPECT_EQ(7U, status);
  });
  while (producer.position() < kSmall) yield_cpu();
  poison(ring.header(), ring.geometry(), 7);
  waiter.join();
  filler.join();
}

TEST(Ring, AClosedGateHoldsSubmissionsAndCountsThem) {
  SharedRing ring(kSmall);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  close_gate(ring.header());
  std::thread caller([&] { EXPECT_EQ(0U, put(producer, {.op = 1}, nullptr, 0)); });
  futex_wait(ring.header()->gate, 1, 30'000'000, Scope::shared);
  EXPECT_EQ(0U, producer.position());
  open_gate(ring.header());
  caller.join();
  EXPECT_NE(0U, producer.position());
  EXPECT_LE(ring.header()->gate_waits.load(), 1U);
}

TEST(Ring, AStopWordWakesASleepingDrain) {
  SharedRing ring(kSmall);
  Consumer consumer;
  ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
  std::thread drain([&] { EXPECT_FALSE(consumer.wait(60'000'000'000)); });
  stop_drain(ring.header());
  drain.join();
}

TEST(Ring, AnotherOwnerEndsADrain) {
  SharedRing ring(kSmall);
  Consumer consumer;
  ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
  std::thread drain([&] { EXPECT_FALSE(consumer.wait(60'000'000'000)); });
  ring.header()->owner_epoch.store(5);
  drain.join();
}

// The sleeper here sleeps for ten minutes: a wake that is lost ends the test by its deadline.
TEST(Ring, APublisherWakesASleepingConsumerAndOnlyTheFirstDoes) {
  SharedRing ring(kSmall);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  std::thread sleeper([&] {
    ring.header()->consumer_sleeps.store(1);
    while (ring.header()->head.load() == 0) {
      futex_wait(low_half(ring.header()->head), 0, 600'000'000'000, Scope::shared);
    }
  });
  while (ring.header()->consumer_sleeps.load() == 0) yield_cpu();
  ASSERT_EQ(0U, put(producer, {.op = 1}, nullptr, 0));
  EXPECT_EQ(0U, ring.header()->consumer_sleeps.load());
  sleeper.join();
}

TEST(Ring, AProducerOfAFullRingSleepsUntilAQuarterIsFree) {
  SharedRing ring(kSmall);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  Consumer consumer;
  ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
  while (producer.position() < kSmall) ASSERT_EQ(0U, put(producer, {.op = 1}, nullptr, 0));
  std::thread caller([&] { EXPECT_EQ(0U, put(producer, {.op = 2}, nullptr, 0)); });
  std::uint32_t wanted = 0;
  while (wanted == 0) wanted = ring.header()->producer_sleeps.load();
  EXPECT_EQ((kSmall / 4 + sizeof(RecordHeader)) | 1, wanted);
  Record record;
  while (consumer.next(&record) == Next::record && record.header.op == 1) {}
  consumer.publish_tail();
  caller.join();
  EXPECT_EQ(kSmall + sizeof(RecordHeader), producer.position());
}

// A client of an earlier build says 1, and a cursor's low half comes round to any value.
TEST(Ring, AProducerIsWokenWhereverTheCursorsAre) {
  for (const std::uint64_t start : {std::uint64_t{0}, (std::uint64_t{1} << 32) - kSmall}) {
    SharedRing ring(kSmall);
    ring.header()->head.store(start);
    ring.header()->tail.store(start);
    Producer producer;
    producer.open(ring.header(), ring.geometry());
    Consumer consumer;
    ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
    ASSERT_EQ(0U, put(producer, {.op = 1}, nullptr, 0));
    std::thread sleeper([&] {
      ring.header()->producer_sleeps.store(1);
      while (ring.header()->tail.load() == start) {
        futex_wait(low_half(ring.header()->tail), static_cast<std::uint32_t>(start),
                   600'000'000'000, Scope::shared);
      }
    });
    while (ring.header()->producer_sleeps.load() == 0) yield_cpu();
    Record record;
    ASSERT_EQ(Next::record, consumer.next(&record));
    consumer.publish_tail();
    sleeper.join();
  }
}

TEST(SpinBudget, LongWaitsShortenItAndOneWorthSpinningForRestoresIt) {
  SpinBudget budget;
  const SpinPolicy full;
  EXPECT_EQ(full.yield_ns, budget.of(full).yield_ns);
  for (int i = 0; i < 10; ++i) budget.note_sleep(5'000'000);
  EXPECT_EQ(full.yield_ns >> SpinBudget::kMostHalvings, budget.of(full).yield_ns);
  EXPECT_LE(budget.of(full).pause_ns, budget.of(full).yield_ns);
  budget.note_sleep(SpinBudget::kWorthSpinningNs - 1);
  EXPECT_EQ(full.yield_ns, budget.of(full).yield_ns);
  EXPECT_EQ(full.busy_ns, budget.of(full).busy_ns);
}

TEST(ReplyTable, SlotsAreDistinctAndComeBack) {
  SharedRing ring(kSmall);
  ReplyTable replies;
  replies.open(ring.header(), ring.geometry());
  std::vector<bool> seen(kReplySlots);
  for (std::uint32_t i = 0; i < kReplySlots; ++i) {
    const std::uint32_t slot = replies.claim();
    ASSERT_LT(slot, kReplySlots);
    ASSERT_FALSE(seen[slot]);
    seen[slot] = true;
  }
  EXPECT_EQ(kNoReply, replies.claim());
  replies.release(77);
  EXPECT_EQ(77U, replies.claim());
}

TEST(Reply, BadSlotsAndSizesAreRefused) {
  SharedRing ring(kSmall);
  const std::vector<std::uint8_t> big(kReplyInlineBytes + 1);
  RecordHeader record{};
  record.sequence = 1;
  for (const std::uint32_t slot : {kNoReply, kReplySlots}) {
    record.reply_slot = slot;
    EXPECT_FALSE(reply(ring.header(), ring.geometry(), record, 0, nullptr, 0));
  }
  record.reply_slot = 0;
  EXPECT_FALSE(reply(ring.header(), ring.geometry(), record, 0, big.data(), big.size()));
  EXPECT_EQ(0U, reply_slots_of(ring.header())[0].sequence.load());
}

// Every thread's own calls keep their order, each reply reaches its caller, nothing is lost.
TEST(Ring, ManyThreadsCallThroughOneRing) {
  SharedRing ring(1U << 16);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  ReplyTable replies;
  replies.open(ring.header(), ring.geometry());
  constexpr std::uint32_t kThreads = 6;
  constexpr std::uint32_t kCalls = 3000;
  std::thread executor([&] {
    Consumer consumer;
    ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
    std::array<std::uint32_t, kThreads> last{};
    std::uint32_t done = 0;
    while (done < kThreads * kCalls) {
      Record record;
      if (consumer.next(&record) != Next::record) {
        consumer.wait(1'000'000'000);
        continue;
      }
      std::uint32_t call = 0;
      std::memcpy(&call, record.payload.data(), sizeof(call));
      ASSERT_EQ(last[record.header.op] + 1, call);
      last[record.header.op] = call;
      ++done;
      if ((record.header.flags & kRecordSync) != 0) {
        consumer.publish_tail();
        ASSERT_TRUE(reply(ring.header(), ring.geometry(), record.header, call * 3, &call, 4));
      }
    }
    consumer.publish_tail();
  });
  std::vector<std::thread> callers;
  for (std::uint16_t t = 0; t < kThreads; ++t) {
    callers.emplace_back([&, t] {
      const std::uint32_t slot = replies.claim();
      for (std::uint32_t call = 1; call <= kCalls; ++call) {
        const bool sync = call % 3 == 0;
        RecordFields fields{.op = t};
        if (sync) {
          fields.flags = kRecordSync;
          fields.reply_slot = slot;
          fields.sequence = replies.next_sequence(slot);
        }
        ASSERT_EQ(0U, put(producer, fields, &call, sizeof(call)));
        if (!sync) continue;
        std::uint32_t status = 0;
        std::uint32_t bytes = 0;
        ASSERT_EQ(0U, replies.wait(slot, fields.sequence, &status, &bytes));
        ASSERT_EQ(call * 3, status);
        ASSERT_EQ(4U, bytes);
        std::uint32_t echoed = 0;
        std::memcpy(&echoed, replies.data(slot), 4);
        ASSERT_EQ(call, echoed);
      }
      replies.release(slot);
    });
  }
  for (auto& caller : callers) caller.join();
  executor.join();
}

}  // namespace
}  // namespace phos::ring::test
