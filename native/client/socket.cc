// SPDX-License-Identifier: Apache-2.0
#include "client/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/memory_file.h"
#include "ring/futex.h"

namespace phos::client {

namespace {

int milliseconds_until(std::uint64_t deadline_ns) noexcept {
  const std::uint64_t now = ring::monotonic_ns();
  if (now >= deadline_ns) return 0;
  const std::uint64_t left = (deadline_ns - now + 999'999) / 1'000'000;
  return left > 1'000'000 ? 1'000'000 : static_cast<int>(left);
}

int fail(int socket, int error) noexcept {
  close(socket);
  errno = error;
  return -1;
}

}  // namespace

int connect_to(const char* path, std::uint64_t deadline_ns) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (strlen(path) >= sizeof(address.sun_path)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  fd = lift_descriptor(fd);
  // EAGAIN: the listener's backlog is full; a unix socket gives no event when it no longer is.
  while (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno != EAGAIN && errno != EINTR) return fail(fd, errno);
    if (milliseconds_until(deadline_ns) == 0) return fail(fd, ETIMEDOUT);
    poll(nullptr, 0, 5);
  }
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return fail(fd, errno);
  if (peer.uid != 0 && peer.uid != geteuid()) return fail(fd, EPERM);
  return fd;
}

bool send_message(int socket, const void* fixed, std::size_t fixed_bytes, const void* tail,
                  std::size_t tail_bytes, int descriptor) noexcept {
  iovec parts[2] = {{const_cast<void*>(fixed), fixed_bytes},
                    {const_cast<void*>(tail), tail_bytes}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = tail_bytes == 0 ? 1 : 2;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  }
  const std::uint64_t deadline = ring::monotonic_ns() + 10'000'000'000;
  for (;;) {
    const ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent) == fixed_bytes + tail_bytes;
    if (errno != EAGAIN && errno != EINTR) return false;
    pollfd ready{socket, POLLOUT, 0};
    if (poll(&ready, 1, milliseconds_until(deadline)) == 0) {
      errno = ETIMEDOUT;
      return false;
    }
  }
}

Received receive_message(int socket, std::span<std::uint8_t> buffer, std::size_t* bytes,
                         std::uint64_t deadline_ns) noexcept {
  bool was_reset = false;
  for (;;) {
    pollfd ready{socket, POLLIN, 0};
    const int events = poll(&ready, 1, milliseconds_until(deadline_ns));
    if (events == 0) return Received::timeout;
    if (events < 0) {
      if (errno == EINTR) continue;
      return Received::closed;
    }
    if ((ready.revents & POLLNVAL) != 0) return Received::closed;
    const ssize_t length = recv(socket, buffer.data(), buffer.size(), MSG_TRUNC);
    if (length == 0) return Received::closed;
    if (length < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      // A peer that refuses and closes before it has read everything resets the connection. Linux
      // tells that once, and before the refusal that lies in the queue.
      if (errno == ECONNRESET && !was_reset) {
        was_reset = true;
        continue;
      }
      return Received::closed;
    }
    const auto size = static_cast<std::size_t>(length);
    wire::Header header{};
    if (size < sizeof(header) || size > buffer.size()) return Received::malformed;
    memcpy(&header, buffer.data(), sizeof(header));
    if (header.magic != wire::kMagic || header.version != wire::kVersion || header.bytes != size) {
      return Received::malformed;
    }
    *bytes = size;
    return Received::message;
  }
}

wire::Header make_header(wire::Type type, std::size_t bytes, std::uint32_t serial) noexcept {
  return {wire::kMagic, wire::kVersion, static_cast<std::uint16_t>(type),
          static_cast<std::uint32_t>(bytes), serial};
}

}  // namespace phos::client
