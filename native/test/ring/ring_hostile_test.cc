// SPDX-License-Identifier: Apache-2.0
// A client that writes nonsense into its ring harms only itself.
#include <random>
#include <thread>

#include "ring_memory.h"

namespace phos::ring::test {
namespace {

constexpr std::uint32_t kSmall = 8192;

TEST(HostileRing, EveryWrongHeaderIsRefused) {
  const auto refuse = [](auto change, std::size_t mapped_less = 0) {
    SharedRing ring(kSmall);
    change(*ring.header());
    Consumer consumer;
    EXPECT_EQ(Fault::bad_header, consumer.open(ring.header(), ring.bytes() - mapped_less));
    Record record;
    EXPECT_EQ(Next::corrupt, consumer.next(&record));
  };
  refuse([](RingHeader& h) { h.magic = 0; });
  refuse([](RingHeader& h) { h.version = 2; });
  refuse([](RingHeader& h) { h.header_bytes = 64; });
  refuse([](RingHeader& h) { h.reply_slots = 0; });
  refuse([](RingHeader& h) { h.reply_slots = 0x10000000; });
  refuse([](RingHeader& h) { h.reply_slot_bytes = 8; });
  refuse([](RingHeader& h) { h.data_offset = 0; });
  refuse([](RingHeader& h) { h.data_bytes = 0; });
  refuse([](RingHeader& h) { h.data_bytes = kSmall + 32; });
  refuse([](RingHeader& h) { h.data_bytes = kSmall * 2; });
  refuse([](RingHeader& h) { h.tail.store(3); });
  refuse([](RingHeader&) {}, 32);
  refuse([](RingHeader&) {}, ring_bytes(kSmall) - 100);
}

TEST(HostileRing, ChangedSizesAreNotReadAgain) {
  SharedRing ring(kSmall);
  Consumer consumer;
  ASSERT_EQ(Fault::none, consumer.open(ring.header(), ring.bytes()));
  ring.header()->data_bytes = 1U << 31;
  ring.header()->head.store(kSmall + 32);
  Record record;
  EXPECT_EQ(Next::corrupt, consumer.next(&record));
  EXPECT_EQ(Fault::bad_head, consumer.fault());
}

TEST(HostileRing, RandomBytesNeverLeaveTheRing) {
  // Guard pages on both sides: a stray read would fault.
  const std::size_t bytes = ring_bytes(kSmall);
  const std::size_t page = 4096;
  auto* raw = static_cast<std::uint8_t*>(mmap(nullptr, bytes + 2 * page, PROT_NONE,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(MAP_FAILED, static_cast<void*>(raw));
  ASSERT_EQ(0, mprotect(raw + page, bytes, PROT_READ | PROT_WRITE));
  auto* header = new (raw + page) RingHeader{};
  const Geometry geometry = format(header, kSmall, {1}, 1);
  std::mt19937 engine(20260101);
  const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
  std::uint64_t taken = 0;
  std::uint64_t corrupt = 0;
  for (int round = 0; round < 100'000; ++round) {
    const std::uint64_t tail = (std::uint64_t{random()} << 5U) & ~std::uint64_t{31};
    header->data_bytes = kSmall;
    header->tail.store(tail);
    header->head.store((round & 1) != 0 ? tail + (random() % (kSmall / 32 + 8)) * 32 : random());
    auto* words = reinterpret_cast<std::uint32_t*>(data_of(header, geometry));
    for (int i = 0; i < 8; ++i) {
      words[(random() % (kSmall / 32)) * 8] = (round & 2) != 0 ? 32 * (random() % 9) : random();
    }
    Consumer consumer;
    ASSERT_EQ(Fault::none, consumer.open(header, bytes));
    header->data_bytes = random();
    Record record;
    Next next = Next::record;
    for (int i = 0; i < 40 && (next = consumer.next(&record)) == Next::record; ++i) {
      ++taken;
      ASSERT_GE(record.payload.data(), data_of(header, geometry));
      ASSERT_LE(record.payload.data() + record.payload.size(),
                data_of(header, geometry) + kSmall);
    }
    if (next == Next::corrupt) ++corrupt;
  }
  EXPECT_GT(taken, 1000U);
  EXPECT_GT(corrupt, 1000U);
  munmap(raw, bytes + 2 * page);
}

TEST(HostileRing, ATailBeyondTheHeadIsNoProgress) {
  SharedRing ring(4096);
  Producer producer;
  producer.open(ring.header(), ring.geometry());
  for (int i = 0; i < 4096 / 32; ++i) ASSERT_EQ(0U, put(producer, {.op = 1}, nullptr, 0));
  ring.header()->tail.store(1U << 20);
  // The ring is full and the tail is nonsense: only the poison may end the wait.
  std::thread caller([&] { EXPECT_EQ(5U, put(producer, {.op = 1}, nullptr, 0)); });
  futex_wait(ring.header()->gate, 0, 30'000'000, Scope::shared);
  EXPECT_EQ(4096U, producer.position());
  poison(ring.header(), ring.geometry(), 5);
  caller.join();
  EXPECT_EQ(4096U, producer.position());
}

}  // namespace
}  // namespace phos::ring::test
