// SPDX-License-Identifier: Apache-2.0
// Messages between the client's agent thread and phosd (attach.sock) or its executor
// (executors/ID.ring.sock): SOCK_SEQPACKET unix sockets, one message a packet, little-endian, each
// opening with WireHeader. File descriptors travel as SCM_RIGHTS of the same packet.
//
// Attach:   agent -> phosd     Hello (+ environment blob)
//           phosd -> agent     Welcome {executor socket path, token} | Refused {code, message}
//           (phosd's connection is closed here; phosd may die without harm from now on)
//           agent -> executor  Handover {token, ring size} + ring fd
//           executor -> agent  Ready {status, device count ...}  | Refused
//           agent -> executor  Arena {address, bytes} + arena fd      (any time; Ack answers)
//           executor -> agent  Disconnect {}: close this socket, then wait for the reattach file
// Reattach: after a dump that goes on, and after a restore, the agent sees the file
//           RUNTIME/reattach/CLIENT_ID (polled every 5 ms while disconnected on request), and
//           attaches again with Hello.reattach = 1. The file holds nothing.
// If the executor's socket closes without a Disconnect, the executor is dead: the agent poisons
// the ring (in its own memory), wakes all waiters, and calls answer CUDA_ERROR_DEVICE_UNAVAILABLE.
#pragma once

#include <cstdint>

namespace phos::wire {

inline constexpr std::uint32_t kMagic = 0x31534850;  // "PHS1"
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::uint32_t kMaxMessageBytes = 64U << 10;
inline constexpr std::uint32_t kAttachDeadlineMs = 30000;
inline constexpr std::uint32_t kReattachPollMs = 5;

enum class Type : std::uint16_t {
  hello = 1,
  welcome = 2,
  refused = 3,
  handover = 4,
  ready = 5,
  arena = 6,
  ack = 7,
  disconnect = 8,
  release_arena = 9,
};

struct Header {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t type;
  std::uint32_t bytes;  // whole message
  std::uint32_t serial;  // answered by the ack's or reply's serial
};
static_assert(sizeof(Header) == 16);

struct Hello {
  Header header;
  std::uint8_t client_id[16];
  std::uint32_t pid;  // the client's own view; phosd takes the truth from SO_PEERCRED
  std::uint32_t reattach;
  std::uint32_t ring_version;
  std::uint32_t environment_bytes;  // NUL-separated NAME=VALUE of CUDA_* and PHOS_* follow
};
static_assert(sizeof(Hello) == 48);

struct Welcome {
  Header header;
  std::uint8_t token[16];  // proves to the executor that phosd sent this client
  char executor_path[112];  // NUL-terminated path of the ring socket
};
static_assert(sizeof(Welcome) == 144);

struct Refused {
  Header header;
  std::uint32_t status;  // CUresult that cuInit answers
  std::uint32_t message_bytes;  // UTF-8, not terminated, follows
};

struct Handover {
  Header header;
  std::uint8_t client_id[16];
  std::uint8_t token[16];
  std::uint64_t ring_bytes;  // the ring fd travels with this message
  std::uint32_t reattach;    // 1: arenas follow as Arena messages before anything else
  std::uint32_t arena_count;
};
static_assert(sizeof(Handover) == 64);

struct Ready {
  Header header;
  std::uint32_t status;  // CUresult of the driver's initialisation
  std::uint32_t pad;
};

struct Arena {
  Header header;
  std::uint64_t address;  // where it is mapped in both processes
  std::uint64_t bytes;
  std::uint32_t kind;  // ArenaKind
  std::uint32_t flags;
};
enum class ArenaKind : std::uint32_t { staging = 1, pinned = 2, shared_mapping = 3 };

struct Ack {
  Header header;
  std::uint32_t status;  // CUresult
  std::uint32_t pad;
};

}  // namespace phos::wire
