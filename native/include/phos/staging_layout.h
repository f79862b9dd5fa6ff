// SPDX-License-Identifier: Apache-2.0
// The staging arena: one memfd of the client at the start of the arena window, the first Arena
// that an agent sends. It carries pageable copies and code images in slots, and host functions in
// the other direction. It opens with StagingHeader; slot i starts at kStagingDataOffset + i *
// slot_bytes.
//
// Slots. The client takes a slot (its state goes from 0 to 1), fills it, and names its address in
// a command. Commands that say `release` give the slot back: the executor stores 0 into the state
// of every slot that [address, address + bytes) touches once it no longer needs the bytes, adds 1
// to `released` and wakes it. The other slots are given back by the client itself.
//
// Host functions. A stream's host function must run while the gate is closed (a drain needs it),
// so it does not go through the ring. The executor takes a free slot, fills it, stores kPosted,
// adds 1 to `posted` and wakes it; the client's callback thread runs the function, stores kDone,
// adds 1 to `done` and wakes it; the executor stores kFree. The executor keeps the stream waiting
// meanwhile.
#pragma once

#include <atomic>
#include <cstdint>

#include "phos/address_window.h"

namespace phos {

inline constexpr std::uint32_t kStagingMagic = 0x47545350;  // "PSTG"
inline constexpr std::uint32_t kStagingSlots = 32;
inline constexpr std::uint32_t kStagingSlotBytes = 1U << 20;
inline constexpr std::uint32_t kCallbackSlots = 64;
inline constexpr std::uint64_t kStagingDataOffset = 64U << 10;
inline constexpr std::uint64_t kStagingBytes =
    (kStagingDataOffset + std::uint64_t{kStagingSlots} * kStagingSlotBytes + kChunkBytes - 1) &
    ~(kChunkBytes - 1);

struct alignas(64) CallbackSlot {
  std::atomic<std::uint32_t> state;
  std::uint32_t status;  // CUresult of the stream, for stream callbacks
  std::uint64_t id;      // which function: the id that the client gave
};
inline constexpr std::uint32_t kCallbackFree = 0;
inline constexpr std::uint32_t kCallbackPosted = 1;
inline constexpr std::uint32_t kCallbackRunning = 2;
inline constexpr std::uint32_t kCallbackDone = 3;

struct StagingHeader {
  std::uint32_t magic;
  std::uint32_t slots;
  std::uint32_t slot_bytes;
  std::uint32_t callback_slots;
  alignas(64) std::atomic<std::uint32_t> released;  // futex word, written by the executor
  alignas(64) std::atomic<std::uint32_t> posted;    // futex word, written by the executor
  alignas(64) std::atomic<std::uint32_t> done;      // futex word, written by the client
  alignas(64) std::atomic<std::uint32_t> slot_state[kStagingSlots];
  CallbackSlot callbacks[kCallbackSlots];
};
static_assert(sizeof(StagingHeader) <= kStagingDataOffset);

}  // namespace phos
