// SPDX-License-Identifier: Apache-2.0
#include "executor/seqpacket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "executor/failure.h"

namespace phos::executor {

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

int Descriptor::release() noexcept {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

void Descriptor::reset() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  if (path.size() >= sizeof(address.sun_path)) {
    throw Failure(Code::usage, "The socket path " + path + " is longer than " +
                                   std::to_string(sizeof(address.sun_path) - 1) +
                                   " bytes; set PHOS_RUNTIME_DIR to a shorter folder.");
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

int make_socket() {
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    throw Failure(Code::unavailable,
                  std::string("Making a unix socket failed: ") + std::strerror(errno) + ".");
  }
  return fd;
}

bool somebody_listens(const sockaddr_un& address) {
  const Descriptor probe(make_socket());
  const int result = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address),
                               sizeof(address));
  return result == 0 || errno == EAGAIN || errno == EPROTOTYPE;
}

}  // namespace

Descriptor listen_at(const std::string& path) {
  const sockaddr_un address = address_of(path);
  Descriptor listener(make_socket());
  const auto* raw = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(listener.get(), raw, sizeof(address)) != 0) {
    if (errno != EADDRINUSE) throw_errno(errno, "listening at", path);
    if (somebody_listens(address)) {
      throw Failure(Code::conflict, "Somebody listens at " + path + " already; stop that first.",
                    {{"path", path}});
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw_errno(errno, "replacing", path);
    if (::bind(listener.get(), raw, sizeof(address)) != 0) {
      throw_errno(errno, "listening at", path);
    }
  }
  // Who may go on is decided by SO_PEERCRED and the token, not by the file's mode.
  if (::chmod(path.c_str(), 0666) != 0) throw_errno(errno, "opening up", path);
  if (::listen(listener.get(), 64) != 0) throw_errno(errno, "listening at", path);
  return listener;
}

Descriptor accept_from(int listener) noexcept {
  return Descriptor(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

Peer peer_of(int socket) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    throw Failure(Code::transport,
                  std::string("Asking who is connected failed: ") + std::strerror(errno) +
                      "; the descriptor is not a connected unix socket.");
  }
  return {credentials.pid, credentials.uid, credentials.gid};
}

namespace {

// Takes every descriptor that came along; more than one is a broken protocol.
bool take_descriptors(msghdr& header, Descriptor* fd) {
  bool good = true;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      if (*fd) good = false;
      *fd = Descriptor(received);
    }
  }
  return good;
}

}  // namespace

Receive receive(int socket, Message* message) {
  message->bytes.resize(wire::kMaxMessageBytes);
  iovec place{message->bytes.data(), message->bytes.size()};
  alignas(cmsghdr) std::uint8_t control[CMSG_SPACE(8 * sizeof(int))];
  msghdr header{};
  header.msg_iov = &place;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN ? Receive::nothing : Receive::closed;
  message->fd.reset();
  const bool good = take_descriptors(header, &message->fd);
  if (got == 0) return Receive::closed;
  message->bytes.resize(static_cast<std::size_t>(got));
  const auto* head = message_as<wire::Header>(*message);
  if (!good || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || head == nullptr ||
      head->magic != wire::kMagic || head->version != wire::kVersion ||
      head->bytes != message->bytes.size()) {
    return Receive::malformed;
  }
  return Receive::message;
}

bool send_bytes(int socket, const void* data, std::size_t bytes) noexcept {
  ssize_t sent = 0;
  do {
    sent = ::send(socket, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(bytes);
}

bool send_refused(int socket, std::uint32_t serial, std::uint32_t status,
                  const std::string& message) noexcept {
  const std::size_t length = std::min<std::size_t>(message.size(), 4096);
  std::vector<std::uint8_t> bytes(sizeof(wire::Refused) + length);
  wire::Refused refused{};
  refused.header = {wire::kMagic, wire::kVersion, static_cast<std::uint16_t>(wire::Type::refused),
                    static_cast<std::uint32_t>(bytes.size()), serial};
  refused.status = status;
  refused.message_bytes = static_cast<std::uint32_t>(length);
  std::memcpy(bytes.data(), &refused, sizeof(refused));
  std::memcpy(bytes.data() + sizeof(refused), message.data(), length);
  return send_bytes(socket, bytes.data(), bytes.size());
}

}  // namespace phos::executor
