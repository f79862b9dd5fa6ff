// SPDX-License-Identifier: Apache-2.0
// Reply slots: one for each client thread that waits. The client claims a slot, gives each request
// a fresh sequence number, and waits until the executor has stored that number.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ring/futex.h"
#include "ring/memory.h"

namespace phos::ring {

// Client side. The table of claimed slots is private to the client: the executor cannot change it.
class ReplyTable {
 public:
  void open(RingHeader* header, const Geometry& geometry) noexcept;
  void close() noexcept;
  // Claims a slot; kNoReply where all are taken.
  std::uint32_t claim() noexcept;
  void release(std::uint32_t slot) noexcept;
  // The sequence number of the next request on this slot; never 0. Only the slot's holder calls it.
  std::uint32_t next_sequence(std::uint32_t slot) noexcept;
  // Waits for the reply. Returns 0 when it is there, or the poison word. `status` and `bytes` are
  // copies; `bytes` is at most kReplyInlineBytes whatever the executor wrote.
  std::uint32_t wait(std::uint32_t slot, std::uint32_t sequence, std::uint32_t* status,
                     std::uint32_t* bytes) noexcept;
  const std::uint8_t* data(std::uint32_t slot) const noexcept { return slots_[slot].data; }

 private:
  RingHeader* header_ = nullptr;
  ReplySlot* slots_ = nullptr;
  std::atomic<std::uint64_t> taken_[kReplySlots / 64]{};
  std::uint32_t sequence_[kReplySlots]{};
  SpinBudget budget_[kReplySlots]{};
};

// Executor side: fills the slot, stores the sequence and wakes the waiter. `header` is the record's
// checked copy. Returns false (and writes nothing) for a slot or size out of range.
bool reply(RingHeader* header, const Geometry& geometry, const RecordHeader& record,
           std::uint32_t status, const void* data, std::size_t bytes) noexcept;
// Where a reply's data may be built in place, or nullptr for a slot out of range.
std::uint8_t* reply_data(RingHeader* header, const Geometry& geometry,
                         const RecordHeader& record) noexcept;
// Publishes what was built there.
void publish_reply(RingHeader* header, const RecordHeader& record, std::uint32_t status,
                   std::uint32_t bytes) noexcept;

}  // namespace phos::ring
