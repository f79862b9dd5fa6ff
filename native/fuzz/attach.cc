// SPDX-License-Identifier: Apache-2.0
// The socket on which a client hands its ring and arenas to an executor: messages of any content,
// in any order, with any descriptor, from a process that the executor expects.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "drivers/sim/sim.h"
#include "executor/host_arenas.h"
#include "executor/ring_server.h"
#include "executor/window.h"
#include "ring/consumer.h"
#include "target.h"

namespace {

using namespace phos;
using namespace phos::executor;

constexpr std::uint32_t kDataBytes = 4096;
constexpr int kPatienceMs = 20'000;

const DriverTable& driver() {
  static const DriverTable table = [] {
    DriverTable filled{};
    fuzz::require(sim::fill_driver_table(filled) && filled.cuInit(0) == CUDA_SUCCESS, "sim");
    return filled;
  }();
  return table;
}

CUcontext context() {
  static CUcontext kept = [] {
    CUcontext made = nullptr;
    fuzz::require(driver().cuDevicePrimaryCtxRetain(&made, 0) == CUDA_SUCCESS, "a context");
    return made;
  }();
  return kept;
}

// What travels with a message, by choice.
int descriptor(std::uint8_t choice) {
  if ((choice & 7U) == 0) return -1;
  if ((choice & 7U) == 1) return ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if ((choice & 7U) == 2) return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int fd = ::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const std::size_t bytes = ring_bytes(kDataBytes);
  fuzz::require(fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) == 0, "a memfd");
  if ((choice & 7U) != 3) {
    void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    fuzz::require(base != MAP_FAILED, "a mapping");
    std::uint8_t id[16];
    std::memset(id, 7, sizeof(id));
    auto* header = static_cast<RingHeader*>(base);
    ring::format(header, kDataBytes, id, 1);
    if ((choice & 8U) != 0) header->data_bytes = 1U << 31;
    header->alive.store((choice & 16U) != 0 ? 0x40000001U : 0);
    ::munmap(base, bytes);
  }
  if ((choice & 7U) != 4) ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL);
  return fd;
}

void send(int socket, std::span<const std::uint8_t> bytes, int fd, bool twice) {
  iovec place{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &place;
  message.msg_iovlen = 1;
  const std::size_t count = twice ? 2 : 1;
  alignas(cmsghdr) std::uint8_t control[CMSG_SPACE(2 * sizeof(int))] = {};
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(count * sizeof(int));
    const int both[2] = {fd, fd};
    std::memcpy(CMSG_DATA(part), both, count * sizeof(int));
  }
  // It may have hung up on us already; that is an answer too.
  (void)::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Each message: u8 choices (1 header as it must be, 2 right token and id, 4 two descriptors),
// u8 type, u8 descriptor, u8 bytes, the bytes.
void talk(int socket, fuzz::Input& input) {
  for (int i = 0; i < 16 && !input.empty(); ++i) {
    const auto choices = input.get<std::uint8_t>();
    const auto type = input.get<std::uint8_t>();
    const int fd = descriptor(input.get<std::uint8_t>());
    const auto body = input.bytes(input.get<std::uint8_t>());
    std::vector<std::uint8_t> bytes(body.begin(), body.end());
    if ((choices & 1U) != 0) {
      bytes.insert(bytes.begin(), sizeof(wire::Header), 0);
      const wire::Header header{wire::kMagic, wire::kVersion, type,
                                static_cast<std::uint32_t>(bytes.size()), 5};
      std::memcpy(bytes.data(), &header, sizeof(header));
    }
    if ((choices & 2U) != 0 && bytes.size() >= sizeof(wire::Handover)) {
      std::memset(bytes.data() + sizeof(wire::Header), 7, 32);
      const std::uint64_t size = ring_bytes(kDataBytes);
      std::memcpy(bytes.data() + offsetof(wire::Handover, ring_bytes), &size, sizeof(size));
    }
    send(socket, bytes, fd, (choices & 4U) != 0);
    if (fd >= 0) ::close(fd);
  }
  ::shutdown(socket, SHUT_WR);
  pollfd source{socket, POLLIN, 0};
  char answer[8192];
  for (;;) {
    fuzz::require(::poll(&source, 1, kPatienceMs) == 1, "the executor answers or hangs up");
    if (::recv(socket, answer, sizeof(answer), 0) <= 0) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::string path = "/tmp/phos-fuzz-" + std::to_string(::getpid()) + ".sock";
  HostArenas arenas(driver(), context());
  ring::Consumer consumer;
  RingServerHooks hooks;
  hooks.attached = [&](void* base, std::size_t bytes, const Peer&, bool) {
    return consumer.open(base, bytes) == ring::Fault::none;
  };
  hooks.add_arena = [&](const ArenaFacts& facts, int fd) { return arenas.add(facts, fd); };
  hooks.remove_arena = [&](std::uint64_t address) { return arenas.remove(address); };
  hooks.disconnected = [] {};
  hooks.lost = [](LostReason, const std::string&) {};
  RingServer server(path, hooks);
  server.start();
  ExpectedClient client;
  std::memset(client.client_id, 7, sizeof(client.client_id));
  std::memset(client.token, 7, sizeof(client.token));
  client.pid = static_cast<std::uint32_t>(::getpid());
  client.uid = ::getuid();
  server.expect(client);

  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  fuzz::require(socket >= 0 && ::connect(socket, reinterpret_cast<sockaddr*>(&address),
                                         sizeof(address)) == 0,
                "a connection");
  talk(socket, input);
  ::close(socket);
  server.close();
  if (server.ring_fd() >= 0) {
    fuzz::require(server.ring_bytes() >= kRingHeaderBytes, "a ring that was taken has a header");
  }
  return 0;
}
