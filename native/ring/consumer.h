// SPDX-License-Identifier: Apache-2.0
// The executor's end of the ring. It trusts nothing in it: sizes are copied out of the header once
// and checked against the mapping, each record's header is read once into private memory and
// checked there, and the cursor is its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ring/futex.h"
#include "ring/memory.h"

namespace phos::ring {

enum class Fault : std::uint8_t {
  none,
  bad_header,   // magic, version or sizes do not fit the mapping
  bad_head,     // head is unaligned or not within [position, position + data_bytes]
  bad_record,   // a record's size is unaligned, too small, or leaves the published part
};
const char* describe(Fault fault) noexcept;

struct Record {
  RecordHeader header;                     // private copy
  std::span<const std::uint8_t> payload;   // shared memory: read every byte once
  std::uint64_t position;                  // of the record's first byte
};

enum class Next : std::uint8_t { record, empty, at_limit, corrupt };

inline constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

class Consumer {
 public:
  // Checks the header of a ring mapped at `base` with `mapped_bytes`. On `none`, the consumer
  // starts at the ring's tail (0 in a new ring, the cut in a restored one).
  Fault open(void* base, std::size_t mapped_bytes) noexcept;

  // Takes the next record, skipping padding, and moves past it; never past `limit` (a cut).
  // The payload is valid until publish_tail().
  Next next(Record* record, std::uint64_t limit = kNoLimit) noexcept;
  // Gives the space of everything taken back to the producer and wakes it.
  void publish_tail() noexcept {
    if (published_ == position_) return;
    published_ = position_;
    header_->tail.store(position_, std::memory_order_seq_cst);
    const std::uint32_t wanted = header_->producer_sleeps.load(std::memory_order_seq_cst);
    if (wanted != 0) wake_producer(wanted);
  }
  // Records taken since the tail was published; publish at 256 of them, before a reply, when idle.
  std::uint32_t unpublished() const noexcept { return position_ == published_ ? 0 : taken_; }

  // True when next() would not answer `empty`. For spinning: it reads one word.
  bool has_more() const noexcept {
    return position_ != known_head_ ||
           header_->head.load(std::memory_order_acquire) != position_;
  }

  // Waits until there is more than was taken, the stop word is set, the owner epoch changes, or
  // `timeout_ns` has passed. Returns true when there is something to take.
  bool wait(std::uint64_t timeout_ns, const SpinPolicy& policy = {}) noexcept;

  std::uint64_t position() const noexcept { return position_; }
  std::uint64_t head() const noexcept { return header_->head.load(std::memory_order_acquire); }
  const Geometry& geometry() const noexcept { return geometry_; }
  RingHeader* header() const noexcept { return header_; }
  Fault fault() const noexcept { return fault_; }

 private:
  void wake_producer(std::uint32_t wanted) noexcept;

  SpinBudget budget_;
  RingHeader* header_ = nullptr;
  const std::uint8_t* data_ = nullptr;
  Geometry geometry_{};
  std::uint64_t position_ = 0;
  std::uint64_t published_ = 0;
  std::uint64_t known_head_ = 0;
  std::uint32_t taken_ = 0;
  std::uint32_t epoch_ = 0;
  Fault fault_ = Fault::none;
};

inline Next Consumer::next(Record* record, std::uint64_t limit) noexcept {
  if (fault_ != Fault::none) return Next::corrupt;
  for (;;) {
    if (position_ >= limit) return Next::at_limit;
    if (position_ == known_head_) {
      const std::uint64_t head = header_->head.load(std::memory_order_acquire);
      if (head - position_ > geometry_.data_bytes || head % kRecordAlign != 0) {
        fault_ = Fault::bad_head;
        return Next::corrupt;
      }
      if (head == position_) return Next::empty;
      known_head_ = head;
    }
    const auto offset =
        static_cast<std::uint32_t>(position_) & (geometry_.data_bytes - 1);
    RecordHeader header;
    // SAFETY: position and sizes are multiples of kRecordAlign, so a whole header lies before the
    // end of the data area. One copy: the client may change the original at any time.
    std::memcpy(&header, data_ + offset, sizeof(header));
    const std::uint64_t available = known_head_ - position_;
    const std::uint32_t room = geometry_.data_bytes - offset;
    if (header.bytes < sizeof(RecordHeader) || header.bytes % kRecordAlign != 0 ||
        header.bytes > available || header.bytes > room) {
      fault_ = Fault::bad_record;
      return Next::corrupt;
    }
    if (published_ == position_) taken_ = 0;
    ++taken_;
    const std::uint64_t start = position_;
    position_ += header.bytes;
    if (header.op == kOpPad) continue;
    record->header = header;
    record->payload = {data_ + offset + sizeof(RecordHeader), header.bytes - sizeof(RecordHeader)};
    record->position = start;
    return Next::record;
  }
}

// For whoever controls a drain: closes or opens the gate, and stops a drain that may be asleep.
void close_gate(RingHeader* header) noexcept;
void open_gate(RingHeader* header) noexcept;
void stop_drain(RingHeader* header) noexcept;
// Makes every later and every waiting call answer `status` (not 0). The first poison stays.
void poison(RingHeader* header, const Geometry& geometry, std::uint32_t status) noexcept;

}  // namespace phos::ring
