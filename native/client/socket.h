// SPDX-License-Identifier: Apache-2.0
// The SEQPACKET sockets of wire.h: connect with a deadline, one message a packet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "phos/wire.h"

namespace phos::client {

// Connects and checks that the peer is root or this user. -1 with errno set; EPERM for a stranger.
int connect_to(const char* path, std::uint64_t deadline_ns) noexcept;
// Sends one message: fixed part and tail, with a descriptor unless it is -1. False with errno set.
bool send_message(int socket, const void* fixed, std::size_t fixed_bytes, const void* tail,
                  std::size_t tail_bytes, int descriptor) noexcept;

enum class Received : std::uint8_t { message, timeout, closed, malformed };
// Receives one message of the protocol; `buffer` holds it, *bytes says how long it is.
Received receive_message(int socket, std::span<std::uint8_t> buffer, std::size_t* bytes,
                         std::uint64_t deadline_ns) noexcept;

wire::Header make_header(wire::Type type, std::size_t bytes, std::uint32_t serial) noexcept;

}  // namespace phos::client
