// SPDX-License-Identifier: Apache-2.0
#include "sockets.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "unique_fd.h"

namespace phos::keeper {
namespace {

bool ask(int fd) {
  struct {
    nlmsghdr header;
    unix_diag_req request;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = AF_UNIX;
  message.request.udiag_states = 0xFFFFFFFFU;
  message.request.udiag_show = UDIAG_SHOW_PEER;
  return ::send(fd, &message, sizeof message, 0) == static_cast<ssize_t>(sizeof message);
}

void print_entry(const nlmsghdr* header) {
  // SAFETY: netlink lays messages out by NLMSG_* and RTA_*, which check lengths as they walk.
  const auto* entry = static_cast<const unix_diag_msg*>(NLMSG_DATA(header));
  auto left = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof *entry));
  const char* first = reinterpret_cast<const char*>(entry) + NLMSG_ALIGN(sizeof *entry);
  const auto* attribute = reinterpret_cast<const rtattr*>(first);
  while (RTA_OK(attribute, left)) {
    if (attribute->rta_type == UNIX_DIAG_PEER) {
      std::uint32_t peer = 0;
      std::memcpy(&peer, RTA_DATA(attribute), sizeof peer);
      std::printf("%u %u\n", entry->udiag_ino, peer);
    }
    attribute = RTA_NEXT(attribute, left);
  }
}

}  // namespace

int print_unix_peers() {
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  const timeval deadline{5, 0};
  if (!fd.valid() ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline) != 0 ||
      !ask(fd.get())) {
    std::perror("asking the kernel for unix sockets");
    return 1;
  }
  alignas(nlmsghdr) static char buffer[64U << 10];
  for (;;) {
    const ssize_t count = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      std::perror("reading unix sockets from the kernel");
      return 1;
    }
    auto left = static_cast<std::uint32_t>(count);
    // SAFETY: the buffer is aligned for nlmsghdr and NLMSG_OK checks every length.
    const auto* header = reinterpret_cast<const nlmsghdr*>(buffer);
    for (; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) return 0;
      if (header->nlmsg_type == NLMSG_ERROR) return 1;
      if (header->nlmsg_type == SOCK_DIAG_BY_FAMILY) print_entry(header);
    }
  }
}

}  // namespace phos::keeper
