// SPDX-License-Identifier: Apache-2.0
#include "client/agent.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <vector>

#include "client/attach.h"
#include "client/log.h"
#include "client/process.h"
#include "client/runtime_dir.h"
#include "client/socket.h"
#include "ring/alive.h"
#include "ring/consumer.h"

namespace phos::client {

namespace {

constexpr CUresult kGone = CUDA_ERROR_DEVICE_UNAVAILABLE;
constexpr std::size_t kAgentStackBytes = 256U << 10;

struct Agent {
  ring::FutexLock lock;  // the socket, the list of arenas, serials
  int socket = -1;
  std::uint32_t next_serial = 1;
  std::vector<SharedArena*>* arenas = nullptr;
  MemoryFile ring;
  ring::Geometry geometry{};
  std::uint8_t id[16]{};
  char attach_path[512] = "";
  char reattach_path[512] = "";
  pthread_t thread{};
  std::atomic<std::uint32_t> outcome{0};  // futex word: 0 not yet, 1 attached, 2 failed
  AttachFailure failure;
  ring::AliveHolder alive;
};

// SAFETY: constant-initialised and leaked; the thread uses it until the process ends.
constinit Agent g_agent;

void sleep_ms(long milliseconds) noexcept {
  const timespec time{milliseconds / 1000, milliseconds % 1000 * 1'000'000};
  nanosleep(&time, nullptr);
}

void lose_executor(const char* why) noexcept {
  complain("%s. Calls of CUDA in process %d answer CUDA_ERROR_DEVICE_UNAVAILABLE from here on; "
           "`phos ps` and the log of phosd tell more",
           why, static_cast<int>(getpid()));
  ring::poison(g_process.ring, g_agent.geometry, kGone);
  g_agent.lock.lock();
  if (g_agent.socket >= 0) close(g_agent.socket);
  g_agent.socket = -1;
  for (SharedArena* arena : *g_agent.arenas) {
    if (arena->answered.load() == 0) {
      arena->status = kGone;
      arena->answered.store(1);
      ring::futex_wake(arena->answered, 1 << 30, ring::Scope::process);
    }
  }
  g_agent.lock.unlock();
}

bool attach_agent(bool again) noexcept {
  g_agent.lock.lock();
  const AttachRequest request{g_agent.attach_path, g_agent.id,       &g_agent.ring, again,
                              *g_agent.arenas,     &g_agent.next_serial};
  g_agent.socket = attach(request, &g_agent.failure);
  g_agent.lock.unlock();
  return g_agent.socket >= 0;
}

// After a Disconnect: nothing of this process may be connected while it is dumped. What comes next
// happens in this process or in its restored copy, so there is no deadline here.
bool wait_and_attach_again() noexcept {
  while (access(g_agent.reattach_path, F_OK) != 0) sleep_ms(wire::kReattachPollMs);
  unlink(g_agent.reattach_path);  // best effort: phosd removes it where this user may not
  // phosd itself may be starting again.
  for (int attempt = 0; attempt < 100; ++attempt) {
    if (attach_agent(true)) return true;
    if (g_agent.failure.status != CUDA_ERROR_SYSTEM_NOT_READY) break;
    sleep_ms(100);
  }
  lose_executor(g_agent.failure.message);
  return false;
}

// True while the agent has something to live for.
bool serve_message(std::span<const std::uint8_t> message) noexcept {
  wire::Header header{};
  memcpy(&header, message.data(), sizeof(header));
  const auto type = static_cast<wire::Type>(header.type);
  if (type == wire::Type::ack && message.size() == sizeof(wire::Ack)) {
    wire::Ack ack{};
    memcpy(&ack, message.data(), sizeof(ack));
    g_agent.lock.lock();
    take_ack(ack, *g_agent.arenas);
    g_agent.lock.unlock();
    return true;
  }
  if (type == wire::Type::disconnect) {
    g_agent.lock.lock();
    close(g_agent.socket);
    g_agent.socket = -1;
    g_agent.lock.unlock();
    return wait_and_attach_again();
  }
  log("the executor sent a message of unknown type %u", header.type);
  return true;
}

void serve() noexcept {
  alignas(8) static std::uint8_t buffer[4096];
  for (;;) {
    std::size_t bytes = 0;
    const std::uint64_t second = ring::monotonic_ns() + 1'000'000'000;
    const Received received = receive_message(g_agent.socket, buffer, &bytes, second);
    g_process.ring->client_beats.fetch_add(1, std::memory_order_relaxed);
    if (received == Received::timeout) continue;
    if (received == Received::closed) return lose_executor("the executor of this program is gone");
    if (received == Received::malformed) {
      return lose_executor("the executor broke the protocol of its socket");
    }
    if (!serve_message({buffer, bytes})) return;
  }
}

void* agent_main(void*) {
  pthread_setname_np(pthread_self(), "phos-agent");
  if (!g_agent.alive.hold(g_process.ring->alive)) {
    log("the kernel refuses robust futexes; the executor learns of this program's end later");
  }
  const bool attached = attach_agent(false);
  if (!attached) g_agent.alive.release(g_process.ring->alive);
  g_agent.outcome.store(attached ? 1 : 2, std::memory_order_release);
  ring::futex_wake(g_agent.outcome, 1, ring::Scope::process);
  if (attached) serve();
  return nullptr;
}

bool fail_with(AttachFailure* failure, CUresult status, const char* what) noexcept {
  failure->status = status;
  snprintf(failure->message, sizeof(failure->message), "%s: %s", what, strerror(errno));
  return false;
}

bool make_ring(AttachFailure* failure) noexcept {
  if (!reserve_windows()) {
    return fail_with(failure, CUDA_ERROR_OUT_OF_MEMORY,
                     "cannot reserve phos's address windows (lift `ulimit -v`)");
  }
  if (g_agent.ring.address == nullptr &&
      !create_memory_file("phos-ring", ring_bytes(kRingDataBytes), nullptr, true, &g_agent.ring)) {
    return fail_with(failure, CUDA_ERROR_OUT_OF_MEMORY, "cannot make the command ring");
  }
  if (getrandom(g_agent.id, sizeof(g_agent.id), 0) != sizeof(g_agent.id)) {
    return fail_with(failure, CUDA_ERROR_OPERATING_SYSTEM, "cannot get random bytes");
  }
  memset(g_agent.ring.address, 0, kRingHeaderBytes);
  g_process.ring = new (g_agent.ring.address) RingHeader{};
  g_agent.geometry = ring::format(g_process.ring, kRingDataBytes, g_agent.id,
                                  static_cast<std::uint32_t>(getpid()));
  g_process.producer.open(g_process.ring, g_agent.geometry);
  g_process.replies.open(g_process.ring, g_agent.geometry);
  if (g_process.shared_slot == kNoReply) g_process.shared_slot = g_process.replies.claim();
  return true;
}

bool find_paths(AttachFailure* failure) noexcept {
  char folder[400];
  if (!runtime_dir(folder, sizeof(folder))) {
    failure->status = CUDA_ERROR_INVALID_VALUE;
    snprintf(failure->message, sizeof(failure->message),
             "the path of phos's runtime folder is too long; set PHOS_RUNTIME_DIR to a "
             "shorter one");
    return false;
  }
  char hex[33];
  for (std::size_t i = 0; i < 16; ++i) snprintf(hex + 2 * i, 3, "%02x", g_agent.id[i]);
  snprintf(g_agent.attach_path, sizeof(g_agent.attach_path), "%s/attach.sock", folder);
  snprintf(g_agent.reattach_path, sizeof(g_agent.reattach_path), "%s/reattach/%s", folder, hex);
  return true;
}

bool start_thread(AttachFailure* failure) noexcept {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kAgentStackBytes);
  // The new thread inherits the mask: no signal of the program is ever handled on the agent.
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(&g_agent.thread, &attributes, agent_main, nullptr);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  errno = error;
  return error == 0 ||
         fail_with(failure, CUDA_ERROR_OPERATING_SYSTEM, "cannot start the agent thread");
}

}  // namespace

const std::uint8_t* client_id() noexcept { return g_agent.id; }

CUresult start_agent(AttachFailure* failure) noexcept {
  if (g_agent.arenas == nullptr) g_agent.arenas = new (std::nothrow) std::vector<SharedArena*>();
  if (g_agent.arenas == nullptr) return failure->status = CUDA_ERROR_OUT_OF_MEMORY;
  if (!make_ring(failure) || !find_paths(failure)) return failure->status;
  g_agent.outcome.store(0);
  if (!start_thread(failure)) return failure->status;
  // Every step of the agent has a deadline, so this ends.
  while (g_agent.outcome.load(std::memory_order_acquire) == 0) {
    ring::futex_wait(g_agent.outcome, 0, ring::kSliceNs, ring::Scope::process);
  }
  if (g_agent.outcome.load() == 1) {
    pthread_detach(g_agent.thread);
    return CUDA_SUCCESS;
  }
  pthread_join(g_agent.thread, nullptr);
  *failure = g_agent.failure;
  return failure->status;
}

CUresult share_arena(std::uint64_t address, std::uint64_t bytes, wire::ArenaKind kind,
                     void (*prepare)(void* memory), SharedArena** result) noexcept {
  auto* arena = new (std::nothrow) SharedArena();
  if (arena == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  // SAFETY: the caller owns this part of the reserved arena window.
  if (!create_memory_file("phos-arena", bytes, reinterpret_cast<void*>(address), false,
                          &arena->file)) {
    delete arena;
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  arena->kind = kind;
  if (prepare != nullptr) prepare(arena->file.address);
  g_agent.lock.lock();
  arena->serial = g_agent.next_serial++;
  g_agent.arenas->push_back(arena);
  // Without a socket the agent sends it when it attaches again.
  if (g_agent.socket >= 0) send_arena(g_agent.socket, *arena, wire::Type::arena);
  g_agent.lock.unlock();
  while (arena->answered.load(std::memory_order_acquire) == 0) {
    if (g_process.ring->poison.load() != 0) arena->status = kGone;
    if (arena->status != CUDA_SUCCESS) break;
    ring::futex_wait(arena->answered, 0, ring::kSliceNs, ring::Scope::process);
  }
  if (arena->status != CUDA_SUCCESS) {
    const CUresult status = arena->status;
    unshare_arena(arena);
    return status;
  }
  *result = arena;
  return CUDA_SUCCESS;
}

CUresult unshare_arena(SharedArena* arena) noexcept {
  g_agent.lock.lock();
  auto& arenas = *g_agent.arenas;
  arenas.erase(std::remove(arenas.begin(), arenas.end(), arena), arenas.end());
  if (g_agent.socket >= 0) send_arena(g_agent.socket, *arena, wire::Type::release_arena);
  g_agent.lock.unlock();
  // SAFETY: the range is part of the reserved window and becomes reserved again; nothing in this
  // library points into it any more.
  mmap(arena->file.address, arena->file.bytes, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  close_memory_file(arena->file);
  delete arena;
  return CUDA_SUCCESS;
}

void lock_agent() noexcept { g_agent.lock.lock(); }
void unlock_agent() noexcept { g_agent.lock.unlock(); }

void drop_agent_in_child() noexcept {
  // CRIU refuses a process that holds a connected socket whose peer is elsewhere, and CLOEXEC does
  // not close anything at fork.
  if (g_agent.socket >= 0) close(g_agent.socket);
  close_memory_file(g_agent.ring);
  if (g_agent.arenas != nullptr) {
    for (SharedArena* arena : *g_agent.arenas) close_memory_file(arena->file);
  }
  g_agent.socket = -1;
  g_agent.ring = {};
}

}  // namespace phos::client
