// SPDX-License-Identifier: Apache-2.0
// The agent: a thread of the client's process that speaks wire.h with phosd and the executor. It
// attaches, sends arenas, lets go before a dump, attaches again after it, and tells the rest of the
// client when the executor is gone. All signals are blocked in it.
#pragma once

#include <atomic>
#include <cstdint>

#include "client/memory_file.h"
#include "phos/cuda_abi.h"
#include "phos/wire.h"

namespace phos::client {

struct AttachFailure {
  CUresult status = CUDA_SUCCESS;
  char message[480] = "";
};

// Makes the ring, starts the agent and waits (at most wire::kAttachDeadlineMs) until the executor
// is ready. On success g_process.ring and the producer are open. Called under the initialisation
// lock.
CUresult start_agent(AttachFailure* failure) noexcept;

// An arena that the executor maps too. Lives until it is released.
struct SharedArena {
  MemoryFile file;
  wire::ArenaKind kind = wire::ArenaKind::pinned;
  std::uint32_t serial = 0;
  std::atomic<std::uint32_t> answered{0};  // futex word
  CUresult status = CUDA_SUCCESS;
};

// Makes an arena at `address` in the window, lets `prepare` (unless nullptr) write into it, and
// waits until the executor has mapped it. While the agent is disconnected for a dump this waits,
// as calls at a closed gate do.
CUresult share_arena(std::uint64_t address, std::uint64_t bytes, wire::ArenaKind kind,
                     void (*prepare)(void* memory), SharedArena** arena) noexcept;
// Takes it back from the executor and from this process; the address is reserved again.
CUresult unshare_arena(SharedArena* arena) noexcept;

// The client's id, random, the same for its whole life, restores included.
const std::uint8_t* client_id() noexcept;

// For the child after fork: drops what the parent shares, without a word to anyone.
void drop_agent_in_child() noexcept;
// Around fork, so that the child finds the agent's lock free.
void lock_agent() noexcept;
void unlock_agent() noexcept;

}  // namespace phos::client
