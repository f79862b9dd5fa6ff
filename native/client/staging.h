// SPDX-License-Identifier: Apache-2.0
// The staging arena from the client's side: slots for pageable copies and code images, and the
// thread that runs host functions (staging_layout.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "phos/cuda_abi.h"
#include "phos/staging_layout.h"

namespace phos::client {

StagingHeader* staging_header() noexcept;

// Makes the arena and shares it. Called once, after the agent has attached.
CUresult open_staging() noexcept;

struct StagingSlot {
  std::uint32_t index;
  std::uint8_t* data;  // kStagingSlotBytes bytes
  std::uint64_t address() const noexcept { return reinterpret_cast<std::uint64_t>(data); }
};
// Takes a slot, waiting for one that the executor gives back. The poison of a dead executor ends
// it.
CUresult take_slot(StagingSlot* slot) noexcept;
// Gives back a slot that no command with `release` names.
void give_slot(const StagingSlot& slot) noexcept;

// A function of the program that a stream calls. `kind` 0: cuLaunchHostFunc; 1:
// cuStreamAddCallback.
struct HostFunction {
  CUhostFn function;
  CUstreamCallback callback;
  CUstream stream;
  void* data;
  bool keep;  // belongs to a graph: it may be called again
};
// Registers it and starts the callback thread on first use. Its id is never 0.
CUresult add_host_function(const HostFunction& function, std::uint64_t* id) noexcept;
void forget_host_function(std::uint64_t id) noexcept;
// True in the callback thread, where CUDA calls are not permitted.
bool in_host_function() noexcept;

void reset_staging_in_child() noexcept;

}  // namespace phos::client
