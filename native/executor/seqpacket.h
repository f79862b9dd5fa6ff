// SPDX-License-Identifier: Apache-2.0
// Listening SOCK_SEQPACKET unix sockets and messages with descriptors (wire.h). Shared by the ring
// server and by phosd's attach server.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "phos/wire.h"

namespace phos::executor {

struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

// An owned descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept;
  void reset() noexcept;

 private:
  int fd_ = -1;
};

// Listens at `path`. A socket file that nobody listens on is replaced; CONFLICT when somebody does.
Descriptor listen_at(const std::string& path);
// The next connection, not blocking; empty when there is none.
Descriptor accept_from(int listener) noexcept;
Peer peer_of(int socket);

struct Message {
  std::vector<std::uint8_t> bytes;
  Descriptor fd;  // at most one travels
};
enum class Receive : std::uint8_t { message, nothing, closed, malformed };
// Takes one message without blocking and checks its header.
Receive receive(int socket, Message* message);

template <class T>
const T* message_as(const Message& message) noexcept {
  // SAFETY: vectors are aligned for every plain type, and the size was checked.
  return message.bytes.size() < sizeof(T) ? nullptr
                                          : reinterpret_cast<const T*>(message.bytes.data());
}
inline wire::Type type_of(const Message& message) noexcept {
  return static_cast<wire::Type>(message_as<wire::Header>(message)->type);
}

// False when the peer is gone or its buffer is full (it does not read).
bool send_bytes(int socket, const void* data, std::size_t bytes) noexcept;
template <class T>
bool send_message(int socket, wire::Type type, std::uint32_t serial, T message) noexcept {
  message.header = {wire::kMagic, wire::kVersion, static_cast<std::uint16_t>(type), sizeof(T),
                    serial};
  return send_bytes(socket, &message, sizeof(T));
}
bool send_refused(int socket, std::uint32_t serial, std::uint32_t status,
                  const std::string& message) noexcept;

}  // namespace phos::executor
