// SPDX-License-Identifier: Apache-2.0
// The command ring: what lies where in the memory that a client shares with its executor.
//
// One memfd for each client process, created, sealed (F_SEAL_SHRINK | F_SEAL_SEAL) and kept by the
// client. Both sides map it; in Node it is a SharedArrayBuffer over the same pages. All integers
// are little-endian. Parts, in order:
//   RingHeader                 4 KiB: one cache line for each writer of a word
//   ReplySlot[reply_slots]     one for each client thread that waits for replies
//   data[data_size]            records, a power of two of bytes
//
// Records. A record is RecordHeader followed by its payload (codec::Req_* and blobs), padded to
// kRecordAlign. It never wraps: when the rest of the data area is too small, a record with op
// kOpPad fills it and the next one starts at 0. Cursors are free-running 64-bit byte counts, so a
// cut (DESIGN: a position in the ring) is one number that never repeats.
//
// Writers. `head` is written by the client under its in-process submission lock, with release
// order, after the record is complete: a record exists only after that store, so a client may be
// killed at any instant. `tail` is written by the executor. The executor trusts nothing: it reads
// each header once into private memory and checks it there.
//
// Sleeping. A consumer that is about to sleep sets consumer_sleeps = 1, re-reads head (seq_cst) and
// waits on head_futex (the low half of head) in slices of at most kSleepSliceMs. A producer checks
// consumer_sleeps after EVERY publish (seq_cst fence between); the one that finds it set takes it
// back to 0 and wakes the consumer. Producers waiting for space sleep on tail_futex likewise:
// producer_sleeps holds the low half of the tail that they wait for, with bit 0 set, or 1 where any
// progress will do.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace phos {

inline constexpr std::uint32_t kRingMagic = 0x474E5250;  // "PRNG"
inline constexpr std::uint32_t kRingVersion = 1;
inline constexpr std::uint32_t kRingDataBytes = 4U << 20;  // default data_size
inline constexpr std::uint32_t kReplySlots = 512;          // threads that may wait at once
inline constexpr std::uint32_t kReplyInlineBytes = 3968;   // outputs that travel in the slot
inline constexpr std::uint32_t kRecordAlign = 32;
inline constexpr std::uint32_t kMaxRecordBytes = kRingDataBytes / 4;
inline constexpr std::uint32_t kInlineBlobMax = 16U << 10;  // larger ones go through staging
inline constexpr std::uint32_t kSleepSliceMs = 20;
inline constexpr std::uint16_t kOpPad = 0xFFFF;

struct alignas(64) RingHeader {
  // Line 0: written once by the client before it is shared.
  std::uint32_t magic;
  std::uint32_t version;
  std::uint32_t header_bytes;  // offset of the first ReplySlot
  std::uint32_t reply_slots;
  std::uint32_t reply_slot_bytes;
  std::uint32_t data_offset;
  std::uint32_t data_bytes;
  std::uint32_t client_pid;  // as the client sees itself
  std::uint8_t client_id[16];  // random; stable across restore
  std::uint8_t pad0[16];

  // Line 1: client.
  alignas(64) std::atomic<std::uint64_t> head;  // low half is head_futex
  std::atomic<std::uint32_t> producer_sleeps;   // 0: nobody; else the tail that is waited for

  // Line 2: executor.
  alignas(64) std::atomic<std::uint64_t> tail;  // low half is tail_futex
  std::atomic<std::uint32_t> consumer_sleeps;   // set by the executor, taken back by either side
  std::atomic<std::uint32_t> busy;  // 1: the device works; a waiter should sleep early

  // Line 3: executor. The submission gate: 0 open, 1 closed (a futex word). A producer that holds
  // the submission lock and sees it closed waits (in slices) until it is open again.
  alignas(64) std::atomic<std::uint32_t> gate;
  std::atomic<std::uint32_t> poison;  // CUresult that every later call answers; 0 = none
  std::atomic<std::uint32_t> stop;    // set to end a drain; futex word
  std::atomic<std::uint32_t> owner_epoch;  // a drain ends when it sees another epoch than its own

  // Line 4: client. Held by the agent thread for its life as a robust, process-shared futex
  // (FUTEX_OWNER_DIED tells the executor within a millisecond that the client is gone: a hint).
  alignas(64) std::atomic<std::uint32_t> alive;

  // Line 5: executor statistics, for ps and tests; no one waits on them.
  alignas(64) std::atomic<std::uint64_t> commands;
  std::atomic<std::uint64_t> deferred_errors;  // unexpected errors of async commands: must be 0
  std::atomic<std::uint64_t> client_beats;     // the client's agent bumps it every second

  // Line 6: submissions that waited at the closed gate, and for how long in all (ns): the stall
  // that the program saw. Written by the client.
  alignas(64) std::atomic<std::uint64_t> gate_waits;
  std::atomic<std::uint64_t> gate_wait_ns;
};
static_assert(sizeof(RingHeader) <= 4096);
inline constexpr std::uint32_t kRingHeaderBytes = 4096;

struct RecordHeader {
  std::uint32_t bytes;  // whole record with this header and padding, a multiple of kRecordAlign
  std::uint16_t op;     // CallId, or kOpPad
  std::uint16_t flags;  // kRecord*
  std::uint32_t reply_slot;  // index, or kNoReply
  std::uint32_t sequence;    // echoed in the reply; per slot, never 0
  std::uint64_t context;     // handle of the calling thread's current context, 0 if none
  std::uint64_t stream;      // reserved for a parked command's stream; 0 now
};
static_assert(sizeof(RecordHeader) == 32);
inline constexpr std::uint32_t kNoReply = 0xFFFFFFFF;
inline constexpr std::uint16_t kRecordSync = 1;  // a reply is expected

// One for each waiting client thread. The executor fills status, bytes and data, then stores
// `sequence` (release) and wakes it if `waiter_sleeps`. Outputs larger than `data` are written
// to the staging extent that the request names.
struct alignas(64) ReplySlot {
  std::atomic<std::uint32_t> sequence;  // futex word
  std::atomic<std::uint32_t> waiter_sleeps;
  std::uint32_t status;  // CUresult
  std::uint32_t bytes;
  std::uint8_t pad[48];
  std::uint8_t data[kReplyInlineBytes];
  std::uint8_t tail_pad[64];
};
static_assert(sizeof(ReplySlot) == 4096);

inline constexpr std::uint64_t ring_bytes(std::uint32_t data_bytes) noexcept {
  return kRingHeaderBytes + std::uint64_t{kReplySlots} * sizeof(ReplySlot) + data_bytes;
}

}  // namespace phos
