// SPDX-License-Identifier: Apache-2.0
// The slow paths of the producer: a closed gate and a full ring.
#include "ring/producer.h"

namespace phos::ring {

std::uint32_t Producer::wait_at_gate() noexcept {
  const std::uint64_t start = monotonic_ns();
  std::uint32_t poison = 0;
  while (header_->gate.load(std::memory_order_acquire) != 0) {
    poison = header_->poison.load(std::memory_order_relaxed);
    if (poison != 0) break;
    futex_wait(header_->gate, 1, kSliceNs, Scope::shared);
  }
  header_->gate_waits.fetch_add(1, std::memory_order_relaxed);
  header_->gate_wait_ns.fetch_add(monotonic_ns() - start, std::memory_order_relaxed);
  return poison;
}

// One publisher wakes: those that come while the consumer is still on its way need not.
void Producer::wake_consumer(RingHeader* header) noexcept {
  if (header->consumer_sleeps.exchange(0, std::memory_order_seq_cst) == 0) return;
  futex_wake(low_half(header->head), 1, Scope::shared);
}

// The ring is full: the executor is behind by a whole ring, so it does not matter when this thread
// goes on, and a core that spins would be taken from the program. It sleeps until a quarter of the
// ring is free, so that it is woken once for thousands of records.
std::uint32_t Producer::wait_for_space(std::uint64_t end) noexcept {
  const std::uint64_t size = geometry_.data_bytes;
  // A tail beyond the head, or behind what was seen before, is nonsense that a broken executor
  // wrote; it counts as no progress, so that no record is overwritten that may be unread.
  const auto has_space = [&](std::uint64_t until) noexcept {
    const std::uint64_t tail = header_->tail.load(std::memory_order_acquire);
    if (tail >= known_tail_ && tail <= head_) known_tail_ = tail;
    return until - known_tail_ <= size;
  };
  if (has_space(end)) return 0;
  const std::uint64_t roomy = end + size / 4 <= head_ + size ? end + size / 4 : head_ + size;
  for (;;) {
    header_->producer_sleeps.store(static_cast<std::uint32_t>(roomy - size) | 1,
                                   std::memory_order_seq_cst);
    const std::uint64_t tail = header_->tail.load(std::memory_order_seq_cst);
    if (!has_space(roomy)) {
      futex_wait(low_half(header_->tail), static_cast<std::uint32_t>(tail), kSliceNs,
                 Scope::shared);
    }
    header_->producer_sleeps.store(0, std::memory_order_relaxed);
    if (has_space(end)) return 0;
    const std::uint32_t poison = header_->poison.load(std::memory_order_relaxed);
    if (poison != 0) return poison;
  }
}

}  // namespace phos::ring
