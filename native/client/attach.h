// SPDX-License-Identifier: Apache-2.0
// The conversation that attaches a client: hello, welcome, handover, ready (wire.h).
#pragma once

#include <cstdint>
#include <span>

#include "client/agent.h"

namespace phos::client {

struct AttachRequest {
  const char* attach_path;
  const std::uint8_t* client_id;  // 16 bytes
  const MemoryFile* ring;
  bool again;  // after a dump or a restore
  std::span<SharedArena* const> arenas;
  std::uint32_t* next_serial;
};

// Returns the socket of the executor, or -1 with the reason. Acks of arenas that come before
// `ready` are given to `arenas`.
int attach(const AttachRequest& request, AttachFailure* failure) noexcept;

bool send_arena(int socket, const SharedArena& arena, wire::Type type) noexcept;
// Marks the arena that an ack answers and wakes its waiter.
void take_ack(const wire::Ack& ack, std::span<SharedArena* const> arenas) noexcept;

}  // namespace phos::client
