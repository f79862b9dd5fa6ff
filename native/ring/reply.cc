// SPDX-License-Identifier: Apache-2.0
#include "ring/reply.h"

#include <bit>

namespace phos::ring {

void ReplyTable::open(RingHeader* header, const Geometry& geometry) noexcept {
  header_ = header;
  slots_ = reply_slots_of(header);
  for (std::uint32_t i = 0; i < geometry.reply_slots && i < kReplySlots; ++i) {
    sequence_[i] = slots_[i].sequence.load(std::memory_order_relaxed);
  }
}

void ReplyTable::close() noexcept {
  header_ = nullptr;
  slots_ = nullptr;
  for (auto& word : taken_) word.store(0, std::memory_order_relaxed);
}

std::uint32_t ReplyTable::claim() noexcept {
  for (std::uint32_t w = 0; w < kReplySlots / 64; ++w) {
    std::uint64_t taken = taken_[w].load(std::memory_order_relaxed);
    while (taken != ~std::uint64_t{0}) {
      const auto bit = static_cast<std::uint32_t>(std::countr_one(taken));
      if (taken_[w].compare_exchange_weak(taken, taken | (std::uint64_t{1} << bit),
                                          std::memory_order_acquire,
                                          std::memory_order_relaxed)) {
        return w * 64 + bit;
      }
    }
  }
  return kNoReply;
}

void ReplyTable::release(std::uint32_t slot) noexcept {
  if (slot >= kReplySlots) return;
  taken_[slot / 64].fetch_and(~(std::uint64_t{1} << (slot % 64)), std::memory_order_release);
}

std::uint32_t ReplyTable::next_sequence(std::uint32_t slot) noexcept {
  if (++sequence_[slot] == 0) sequence_[slot] = 1;
  return sequence_[slot];
}

std::uint32_t ReplyTable::wait(std::uint32_t slot, std::uint32_t sequence, std::uint32_t* status,
                               std::uint32_t* bytes) noexcept {
  ReplySlot& reply = slots_[slot];
  const auto arrived = [&]() noexcept {
    return reply.sequence.load(std::memory_order_acquire) == sequence;
  };
  SpinBudget& budget = budget_[slot];
  if (!spin_until(arrived, budget.of(SpinPolicy{}), &header_->busy)) {
    const std::uint64_t start = monotonic_ns();
    while (!arrived()) {
      reply.waiter_sleeps.store(1, std::memory_order_seq_cst);
      const std::uint32_t seen = reply.sequence.load(std::memory_order_seq_cst);
      if (seen != sequence) futex_wait(reply.sequence, seen, kSliceNs, Scope::shared);
      reply.waiter_sleeps.store(0, std::memory_order_relaxed);
      if (arrived()) break;
      const std::uint32_t poison = header_->poison.load(std::memory_order_acquire);
      // The reply may have come just before the poison: an answer that is there counts.
      if (poison != 0 && !arrived()) return poison;
    }
    budget.note_sleep(monotonic_ns() - start);
  }
  *status = reply.status;
  *bytes = reply.bytes < kReplyInlineBytes ? reply.bytes : kReplyInlineBytes;
  return 0;
}

std::uint8_t* reply_data(RingHeader* header, const Geometry& geometry,
                         const RecordHeader& record) noexcept {
  if (record.reply_slot >= geometry.reply_slots) return nullptr;
  return reply_slots_of(header)[record.reply_slot].data;
}

void publish_reply(RingHeader* header, const RecordHeader& record, std::uint32_t status,
                   std::uint32_t bytes) noexcept {
  ReplySlot& slot = reply_slots_of(header)[record.reply_slot];
  slot.status = status;
  slot.bytes = bytes;
  slot.sequence.store(record.sequence, std::memory_order_seq_cst);
  if (slot.waiter_sleeps.load(std::memory_order_seq_cst) != 0) {
    futex_wake(slot.sequence, 1, Scope::shared);
  }
}

bool reply(RingHeader* header, const Geometry& geometry, const RecordHeader& record,
           std::uint32_t status, const void* data, std::size_t bytes) noexcept {
  std::uint8_t* place = reply_data(header, geometry, record);
  if (place == nullptr || bytes > kReplyInlineBytes) return false;
  if (bytes != 0) std::memcpy(place, data, bytes);
  publish_reply(header, record, status, static_cast<std::uint32_t>(bytes));
  return true;
}

}  // namespace phos::ring
