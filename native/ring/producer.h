// SPDX-License-Identifier: Apache-2.0
// The client's end of the ring: many threads, one submission lock, records written in place.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ring/futex.h"
#include "ring/memory.h"

namespace phos::ring {

struct RecordFields {
  std::uint16_t op = 0;
  std::uint16_t flags = 0;
  std::uint32_t reply_slot = kNoReply;
  std::uint32_t sequence = 0;
  std::uint64_t context = 0;
};

// Status of begin(): 0 (ready to write), the poison word, or this: the record is larger than
// kMaxRecordBytes, or than a quarter of a smaller ring.
inline constexpr std::uint32_t kRecordTooBig = 0xFFFF'FFFE;

class Producer {
 public:
  Producer() = default;
  // Over memory that format() wrote, or over a ring that came back with a restored process.
  void open(RingHeader* header, const Geometry& geometry) noexcept {
    header_ = header;
    geometry_ = geometry;
    data_ = data_of(header, geometry);
    head_ = header->head.load(std::memory_order_relaxed);
    known_tail_ = header->tail.load(std::memory_order_acquire);
  }
  void close() noexcept {
    header_ = nullptr;
    lock_.reset();
  }
  bool is_open() const noexcept { return header_ != nullptr; }

  // Takes the submission lock, waits while the gate is closed or the ring is full, and gives where
  // the payload of `payload_bytes` goes. On 0 the caller writes it and calls commit() or abandon();
  // on anything else the lock is free again. Never waits past a poisoned ring.
  std::uint32_t begin(const RecordFields& fields, std::size_t payload_bytes,
                      std::uint8_t** payload) noexcept;
  // Publishes the record, wakes a sleeping consumer and frees the lock.
  void commit() noexcept {
    head_ = next_head_;
    RingHeader* header = header_;
    header->head.store(head_, std::memory_order_release);
    // Either the consumer sees this head, or its sleep flag is seen here: the fence orders the two.
    // It comes with the unlocking, which needs a locked instruction anyway, so that the record and
    // the head travel to the other core together and are waited for once.
    lock_.unlock_with_fence();
    if (header->consumer_sleeps.load(std::memory_order_relaxed) != 0) wake_consumer(header);
  }
  // Frees the lock without publishing anything.
  void abandon() noexcept { lock_.unlock(); }

  std::uint32_t max_payload_bytes() const noexcept {
    const std::uint32_t quarter = geometry_.data_bytes / 4;
    const std::uint32_t most = quarter < kMaxRecordBytes ? quarter : kMaxRecordBytes;
    return most - static_cast<std::uint32_t>(sizeof(RecordHeader));
  }
  // Position after everything published so far.
  std::uint64_t position() const noexcept {
    return header_->head.load(std::memory_order_acquire);
  }
  const Geometry& geometry() const noexcept { return geometry_; }
  RingHeader* header() const noexcept { return header_; }

 private:
  // The next lines of the ring are asked for this many bytes ahead of their being written.
  static constexpr std::uint32_t kPrefetchAhead = 512;
  static constexpr std::uint32_t kMaxPrefetched = 256;  // of one record

  static void wake_consumer(RingHeader* header) noexcept;
  std::uint32_t wait_at_gate() noexcept;
  std::uint32_t wait_for_space(std::uint64_t end) noexcept;

  FutexLock lock_;
  RingHeader* header_ = nullptr;
  std::uint8_t* data_ = nullptr;
  Geometry geometry_{};
  std::uint64_t head_ = 0;        // own copy: the shared word is never read back
  std::uint64_t next_head_ = 0;   // what commit() publishes
  std::uint64_t known_tail_ = 0;  // the consumer is at least here
};

inline std::uint32_t Producer::begin(const RecordFields& fields, std::size_t payload_bytes,
                                     std::uint8_t** payload) noexcept {
  if (payload_bytes > max_payload_bytes()) return kRecordTooBig;
  const std::uint32_t bytes =
      (static_cast<std::uint32_t>(sizeof(RecordHeader) + payload_bytes) + kRecordAlign - 1) &
      ~(kRecordAlign - 1);
  lock_.lock();
  const std::uint32_t poison = header_->poison.load(std::memory_order_relaxed);
  if (poison != 0) {
    lock_.unlock();
    return poison;
  }
  if (header_->gate.load(std::memory_order_acquire) != 0) {
    if (const std::uint32_t status = wait_at_gate(); status != 0) {
      lock_.unlock();
      return status;
    }
  }
  const std::uint32_t mask = geometry_.data_bytes - 1;
  const std::uint32_t offset = static_cast<std::uint32_t>(head_) & mask;
  const std::uint32_t room = geometry_.data_bytes - offset;
  const std::uint32_t padding = room < bytes ? room : 0;
  const std::uint64_t start = head_ + padding;
  if (start + bytes - known_tail_ > geometry_.data_bytes) {
    if (const std::uint32_t status = wait_for_space(start + bytes); status != 0) {
      lock_.unlock();
      return status;
    }
  }
  if (padding != 0) {
    const RecordHeader pad{padding, kOpPad, 0, kNoReply, 0, 0, 0};
    // SAFETY: room is a multiple of kRecordAlign, so a whole header fits before the end.
    std::memcpy(data_ + offset, &pad, sizeof(pad));
  }
  std::uint8_t* record = data_ + (static_cast<std::uint32_t>(start) & mask);
  const RecordHeader filled{bytes,           fields.op,      fields.flags, fields.reply_slot,
                            fields.sequence, fields.context, 0};
  std::memcpy(record, &filled, sizeof(filled));
  next_head_ = start + bytes;
  // The lines behind were read by the other core since they were last written here; fetching them
  // back while the program prepares its next calls keeps the publication from waiting for them.
  const std::uint32_t lines = bytes < kMaxPrefetched ? bytes : kMaxPrefetched;
  for (std::uint32_t at = 0; at < lines; at += 64) {
    prefetch_for_write(data_ + ((static_cast<std::uint32_t>(start) + kPrefetchAhead + at) & mask));
  }
  *payload = record + sizeof(RecordHeader);
  return 0;
}

}  // namespace phos::ring
