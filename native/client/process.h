// SPDX-License-Identifier: Apache-2.0
// The one client in this process. Constant-initialised, never destroyed: cudart calls in from its
// own exit handlers, after ours would have run.
#pragma once

#include <atomic>
#include <cstdint>

#include "phos/cuda_abi.h"
#include "ring/producer.h"
#include "ring/reply.h"

namespace phos::client {

enum class Phase : std::uint32_t {
  fresh,      // cuInit was not called, or failed
  attaching,  // a thread is in cuInit; its own calls go through
  ready,      // attached
  forked,     // a child of a process that was attached: CUDA does not work here
};

inline constexpr int kMaxDevices = 16;
inline constexpr std::uint32_t kAttributeCount = 160;  // CUdevice_attribute below this are cached

struct DeviceFacts {
  std::int32_t attributes[kAttributeCount];
  std::uint64_t total_bytes;
  CUuuid uuid;
  char luid[8];
  unsigned luid_mask;
  int least_priority;
  int greatest_priority;
  char name[256];
};

struct Process {
  std::atomic<Phase> phase{Phase::fresh};
  ring::FutexLock init_lock;
  RingHeader* ring = nullptr;
  ring::Producer producer;
  ring::ReplyTable replies;
  ring::FutexLock shared_slot_lock;
  std::uint32_t shared_slot = kNoReply;
  int driver_version = 13000;
  int device_count = 0;
  DeviceFacts devices[kMaxDevices]{};
};

extern Process g_process;

inline bool is_ready() noexcept {
  return g_process.phase.load(std::memory_order_acquire) == Phase::ready;
}

// The ring is there: commands may be sent (by the thread in cuInit, before the others are let in).
inline bool has_ring() noexcept {
  const Phase phase = g_process.phase.load(std::memory_order_acquire);
  return phase == Phase::ready || phase == Phase::attaching;
}

// Facts of a device, or nullptr for an ordinal out of range.
inline const DeviceFacts* device_facts(CUdevice device) noexcept {
  if (device < 0 || device >= g_process.device_count) return nullptr;
  return &g_process.devices[device];
}

// Cached attribute; 0 where the driver refused it or the device does not exist.
inline int device_attribute(CUdevice device, CUdevice_attribute attribute) noexcept {
  const DeviceFacts* facts = device_facts(device);
  const auto index = static_cast<std::uint32_t>(attribute);
  if (facts == nullptr || index >= kAttributeCount) return 0;
  const std::int32_t value = facts->attributes[index];
  return value == INT32_MIN ? 0 : value;
}

}  // namespace phos::client
