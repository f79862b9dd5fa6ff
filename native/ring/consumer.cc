// SPDX-License-Identifier: Apache-2.0
#include "ring/consumer.h"

#include <bit>

namespace phos::ring {

const char* describe(Fault fault) noexcept {
  switch (fault) {
    case Fault::none:
      return "no fault";
    case Fault::bad_header:
      return "the ring's header does not fit its memory or is of another version";
    case Fault::bad_head:
      return "the ring's head is outside the ring";
    case Fault::bad_record:
      return "a record's size is impossible";
  }
  return "unknown fault";
}

Fault Consumer::open(void* base, std::size_t mapped_bytes) noexcept {
  header_ = static_cast<RingHeader*>(base);
  fault_ = Fault::bad_header;
  if (mapped_bytes < kRingHeaderBytes) return fault_;
  // SAFETY: the fields are read once into private copies; nothing here trusts a second read.
  const volatile RingHeader& shared = *header_;
  const std::uint32_t magic = shared.magic;
  const std::uint32_t version = shared.version;
  const std::uint32_t header_bytes = shared.header_bytes;
  const std::uint32_t slots = shared.reply_slots;
  const std::uint32_t slot_bytes = shared.reply_slot_bytes;
  const std::uint32_t data_offset = shared.data_offset;
  const std::uint32_t data_bytes = shared.data_bytes;
  if (magic != kRingMagic || version != kRingVersion || header_bytes != kRingHeaderBytes) {
    return fault_;
  }
  if (slots == 0 || slots > kReplySlots || slot_bytes != sizeof(ReplySlot)) return fault_;
  if (data_offset != kRingHeaderBytes + std::uint64_t{slots} * sizeof(ReplySlot)) return fault_;
  if (!std::has_single_bit(data_bytes) || data_bytes < 4096 ||
      std::uint64_t{data_offset} + data_bytes > mapped_bytes) {
    return fault_;
  }
  geometry_ = Geometry{slots, data_offset, data_bytes};
  data_ = data_of(header_, geometry_);
  position_ = header_->tail.load(std::memory_order_acquire);
  published_ = position_;
  known_head_ = position_;
  taken_ = 0;
  epoch_ = header_->owner_epoch.load(std::memory_order_relaxed);
  if (position_ % kRecordAlign != 0) return fault_;
  fault_ = Fault::none;
  return fault_;
}

// A producer that sleeps has said how far the tail must be for it to go on (ring_layout.h).
void Consumer::wake_producer(std::uint32_t wanted) noexcept {
  const auto tail = static_cast<std::uint32_t>(position_);
  const auto past = static_cast<std::int32_t>(tail - (wanted & ~1U));
  if (wanted == 1 || past >= 0) futex_wake(low_half(header_->tail), 1, Scope::shared);
}

bool Consumer::wait(std::uint64_t timeout_ns, const SpinPolicy& policy) noexcept {
  const auto ready = [this]() noexcept {
    return header_->head.load(std::memory_order_acquire) != position_;
  };
  const auto told_to_stop = [this]() noexcept {
    return header_->stop.load(std::memory_order_acquire) != 0 ||
           header_->owner_epoch.load(std::memory_order_relaxed) != epoch_;
  };
  if (ready()) return true;
  publish_tail();
  const auto spin_end = [&]() noexcept { return ready() || told_to_stop(); };
  if (spin_until(spin_end, budget_.of(policy))) return ready();
  const std::uint64_t start = monotonic_ns();
  for (;;) {
    const std::uint64_t spent = monotonic_ns() - start;
    if (spent >= timeout_ns) {
      budget_.note_sleep(spent);
      return ready();
    }
    const std::uint64_t left = timeout_ns - spent;
    header_->consumer_sleeps.store(1, std::memory_order_seq_cst);
    const std::uint64_t head = header_->head.load(std::memory_order_seq_cst);
    if (head == position_ && !told_to_stop()) {
      futex_wait(low_half(header_->head), static_cast<std::uint32_t>(head),
                 left < kSliceNs ? left : kSliceNs, Scope::shared);
    }
    header_->consumer_sleeps.store(0, std::memory_order_relaxed);
    if (ready()) {
      budget_.note_sleep(monotonic_ns() - start);
      return true;
    }
    if (told_to_stop()) return false;
  }
}

void close_gate(RingHeader* header) noexcept {
  header->gate.store(1, std::memory_order_seq_cst);
}

void open_gate(RingHeader* header) noexcept {
  header->gate.store(0, std::memory_order_seq_cst);
  futex_wake(header->gate, 1 << 30, Scope::shared);
}

void stop_drain(RingHeader* header) noexcept {
  header->stop.store(1, std::memory_order_seq_cst);
  futex_wake(low_half(header->head), 1 << 30, Scope::shared);
  futex_wake(header->stop, 1 << 30, Scope::shared);
}

void poison(RingHeader* header, const Geometry& geometry, std::uint32_t status) noexcept {
  std::uint32_t none = 0;
  header->poison.compare_exchange_strong(none, status, std::memory_order_seq_cst);
  futex_wake(header->gate, 1 << 30, Scope::shared);
  futex_wake(low_half(header->tail), 1 << 30, Scope::shared);
  ReplySlot* slots = reply_slots_of(header);
  for (std::uint32_t i = 0; i < geometry.reply_slots; ++i) {
    if (slots[i].waiter_sleeps.load(std::memory_order_seq_cst) != 0) {
      futex_wake(slots[i].sequence, 1, Scope::shared);
    }
  }
}

}  // namespace phos::ring
