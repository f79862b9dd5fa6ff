// SPDX-License-Identifier: Apache-2.0
#include "executor/ring_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "executor/failure.h"
#include "ring/alive.h"
#include "ring/futex.h"

namespace phos::executor {

namespace {

constexpr std::uint64_t kMaxRingBytes = 256U << 20;
constexpr std::uint64_t kWatchSliceNs = 100'000'000;

// In constant time: the token is a secret.
bool same_bytes(const std::uint8_t* a, const std::uint8_t* b, std::size_t bytes) noexcept {
  std::uint8_t difference = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    difference = static_cast<std::uint8_t>(difference | (a[i] ^ b[i]));
  }
  return difference == 0;
}

}  // namespace

const char* name_of(LostReason reason) noexcept {
  switch (reason) {
    case LostReason::hang_up: return "hang-up";
    case LostReason::protocol: return "protocol";
    case LostReason::disconnected: return "disconnected";
    case LostReason::exit: break;
  }
  return "exit";
}

RingServer::RingServer(std::string path, RingServerHooks hooks)
    : path_(std::move(path)), hooks_(std::move(hooks)) {}

RingServer::~RingServer() { close(); }

void RingServer::start() {
  listener_ = listen_at(path_);
  wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) {
    throw Failure(Code::unavailable,
                  std::string("Making an eventfd failed: ") + std::strerror(errno) + ".");
  }
  thread_ = std::thread([this] { serve(); });
  watcher_ = std::thread([this] { watch(); });
}

void RingServer::expect(const ExpectedClient& client) {
  const std::lock_guard lock(mutex_);
  expected_ = client;
}

void RingServer::wake() noexcept {
  const std::uint64_t one = 1;
  // A full counter means that the thread is about to wake anyway.
  if (::write(wake_.get(), &one, sizeof(one)) < 0) return;
}

void RingServer::disconnect(std::uint32_t deadline_ms) {
  std::unique_lock lock(mutex_);
  if (!connection_ || !handed_over_) return;
  want_disconnect_ = true;
  wake();
  const bool gone = changed_.wait_for(lock, std::chrono::milliseconds(deadline_ms),
                                      [this] { return !want_disconnect_; });
  if (gone) return;
  want_disconnect_ = false;
  throw Failure(Code::timeout,
                "The agent of process " + std::to_string(pid_.load()) +
                    " did not close its socket within " + std::to_string(deadline_ms) +
                    " ms; is the process stopped?",
                {{"step", "disconnect"}}, true);
}

void RingServer::cut_off(const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (cut_off_why_.empty()) cut_off_why_ = why;
  wake();
}

void RingServer::close() {
  if (stopping_.exchange(true)) return;
  if (wake_) wake();
  if (thread_.joinable()) thread_.join();
  if (watcher_.joinable()) watcher_.join();
  if (listener_) ::unlink(path_.c_str());
  listener_.reset();
  connection_.reset();
}

void RingServer::watch() {
  // The kernel marks the word before it tears the process down; sockets and pidfd come later.
  while (!stopping_.load()) {
    RingHeader* header = watched_.load(std::memory_order_acquire);
    if (header == nullptr) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      continue;
    }
    const ring::Life life = ring::life_of(header->alive);
    if (life == ring::Life::died) {
      watched_.store(nullptr);
      saw_death_.store(true);
      wake();
      continue;
    }
    if (life == ring::Life::alive) {
      ring::wait_for_death(header->alive, kWatchSliceNs);
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
}

void RingServer::serve() {
  while (!stopping_.load()) {
    pollfd sources[4] = {{wake_.get(), POLLIN, 0},
                         {listener_.get(), POLLIN, 0},
                         {connection_ ? connection_.get() : -1, POLLIN, 0},
                         {pidfd_ ? pidfd_.get() : -1, POLLIN, 0}};
    if (::poll(sources, 4, 1000) < 0 && errno != EINTR) return;
    if (stopping_.load()) return;
    std::uint64_t count = 0;
    if ((sources[0].revents & POLLIN) != 0 && ::read(wake_.get(), &count, sizeof(count)) < 0) {
      continue;
    }
    if (saw_death_.exchange(false)) lose(LostReason::hang_up, "the process has died");
    std::string why;
    bool ask = false;
    {
      const std::lock_guard lock(mutex_);
      why.swap(cut_off_why_);
      ask = want_disconnect_ && !asked_to_leave_ && connection_;
    }
    if (!why.empty()) lose(LostReason::protocol, why);
    if (ask) {
      wire::Ack goodbye{};
      goodbye.header = {wire::kMagic, wire::kVersion,
                        static_cast<std::uint16_t>(wire::Type::disconnect), sizeof(wire::Header),
                        0};
      asked_to_leave_ = true;
      send_bytes(connection_.get(), &goodbye.header, sizeof(goodbye.header));
    }
    if ((sources[2].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && connection_) take_messages();
    if ((sources[1].revents & POLLIN) != 0) take_connection();
    if ((sources[3].revents & POLLIN) != 0) {
      pidfd_.reset();
      lose(LostReason::exit, "the process has ended");
    }
  }
}

void RingServer::take_connection() {
  Descriptor next = accept_from(listener_.get());
  if (!next) return;
  Peer peer;
  try {
    peer = peer_of(next.get());
  } catch (const Failure&) {
    return;  // gone already: nobody is left to be told
  }
  const std::lock_guard lock(mutex_);
  const bool wanted = expected_.has_value() && !connection_ && !lost_;
  const bool right_user = wanted && (peer.uid == expected_->uid || peer.uid == 0);
  const bool right_process =
      wanted && (expected_->pid == 0 || static_cast<std::uint32_t>(peer.pid) == expected_->pid);
  if (!wanted || !right_user || !right_process) {
    send_refused(next.get(), 0, CUDA_ERROR_NOT_PERMITTED,
                 "this executor does not expect process " + std::to_string(peer.pid));
    return;
  }
  connection_ = std::move(next);
  peer_ = peer;
  handed_over_ = false;
  asked_to_leave_ = false;
}

void RingServer::take_messages() {
  for (;;) {
    Message message;
    switch (receive(connection_.get(), &message)) {
      case Receive::nothing:
        return;
      case Receive::closed:
        hang_up();
        return;
      case Receive::malformed:
        lose(LostReason::protocol, "a message of the agent is malformed");
        return;
      case Receive::message:
        handle(message, message);
    }
    if (!connection_) return;
  }
}

void RingServer::handle(const Message& message, Message& owned) {
  const wire::Type type = type_of(message);
  if (type == wire::Type::handover && !handed_over_) {
    hand_over(owned);
  } else if (type == wire::Type::arena && handed_over_) {
    take_arena(owned);
  } else if (type == wire::Type::release_arena && handed_over_ &&
             message.bytes.size() == sizeof(wire::Arena)) {
    const auto* arena = message_as<wire::Arena>(message);
    acknowledge(arena->header.serial, hooks_.remove_arena(arena->address));
  } else {
    lose(LostReason::protocol, "the agent sent a message out of turn");
  }
}

void RingServer::hand_over(Message& message) {
  const auto* request = message_as<wire::Handover>(message);
  if (request == nullptr || message.bytes.size() != sizeof(wire::Handover)) {
    lose(LostReason::protocol, "the handover is malformed");
    return;
  }
  const std::uint32_t serial = request->header.serial;
  bool known = false;
  {
    const std::lock_guard lock(mutex_);
    known = expected_.has_value() && same_bytes(request->token, expected_->token, 16) &&
            same_bytes(request->client_id, expected_->client_id, 16);
    // A token counts once.
    if (known) std::memset(expected_->token, 0, sizeof(expected_->token));
    if (known) expected_.reset();
  }
  if (!known) {
    refuse(serial, CUDA_ERROR_NOT_PERMITTED, "the token is not the one that phosd gave out");
    return;
  }
  if (!map_ring(message, request->ring_bytes) ||
      !same_bytes(static_cast<const RingHeader*>(ring_.base)->client_id, request->client_id, 16)) {
    refuse(serial, CUDA_ERROR_INVALID_VALUE,
           "the ring is not a sealed memfd of a client of this build");
    return;
  }
  handover_serial_ = serial;
  reattached_ = request->reattach != 0;
  arenas_to_come_ = request->arena_count;
  {
    const std::lock_guard lock(mutex_);
    handed_over_ = true;
    has_left_ = false;
  }
  if (arenas_to_come_ == 0) finish_hand_over();
}

bool RingServer::map_ring(Message& message, std::uint64_t bytes) {
  if (!message.fd || bytes < kRingHeaderBytes || bytes > kMaxRingBytes) return false;
  struct stat status {};
  const int seals = ::fcntl(message.fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || ::fstat(message.fd.get(), &status) != 0 ||
      static_cast<std::uint64_t>(status.st_size) < bytes) {
    return false;
  }
  // The same memfd comes again after a dump that went on: the mapping is still there, and replies
  // under way may point into it.
  if (ring_.base != nullptr && ring_.inode == status.st_ino && ring_.device == status.st_dev &&
      ring_.bytes == bytes) {
    return true;
  }
  // SAFETY: the memfd cannot shrink, so no access faults. It stays mapped until the process ends.
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                      message.fd.get(), 0);
  if (base == MAP_FAILED) return false;
  ring_ = Mapping{base, static_cast<std::size_t>(bytes), status.st_ino, status.st_dev,
                  std::move(message.fd)};
  ring_fd_.store(ring_.fd.get());
  ring_bytes_.store(ring_.bytes);
  return true;
}

void RingServer::take_arena(Message& message) {
  const auto* arena = message_as<wire::Arena>(message);
  if (arena == nullptr || message.bytes.size() != sizeof(wire::Arena) || !message.fd) {
    lose(LostReason::protocol, "an arena message is malformed");
    return;
  }
  const ArenaFacts facts{arena->address, arena->bytes, static_cast<wire::ArenaKind>(arena->kind)};
  acknowledge(arena->header.serial, hooks_.add_arena(facts, message.fd.release()));
  if (arenas_to_come_ != 0 && --arenas_to_come_ == 0) finish_hand_over();
}

void RingServer::finish_hand_over() {
  if (!hooks_.attached(ring_.base, ring_.bytes, peer_, reattached_)) {
    refuse(handover_serial_, CUDA_ERROR_INVALID_VALUE,
           "the ring's header does not fit this executor");
    return;
  }
  pid_.store(static_cast<std::uint32_t>(peer_.pid));
  pidfd_ = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, peer_.pid, 0)));
  watched_.store(static_cast<RingHeader*>(ring_.base), std::memory_order_release);
  send_message(connection_.get(), wire::Type::ready, handover_serial_, wire::Ready{});
}

void RingServer::refuse(std::uint32_t serial, std::uint32_t status, const std::string& why) {
  send_refused(connection_.get(), serial, status, why);
  const std::lock_guard lock(mutex_);
  connection_.reset();
  handed_over_ = false;
}

void RingServer::acknowledge(std::uint32_t serial, CUresult status) {
  wire::Ack ack{};
  ack.status = static_cast<std::uint32_t>(status);
  send_message(connection_.get(), wire::Type::ack, serial, ack);
}

void RingServer::hang_up() {
  bool was_asked = false;
  bool had_ring = false;
  {
    const std::lock_guard lock(mutex_);
    was_asked = asked_to_leave_;
    had_ring = handed_over_;
    has_left_ = was_asked;
    connection_.reset();
    handed_over_ = false;
    asked_to_leave_ = false;
  }
  if (was_asked) {
    hooks_.disconnected();
  } else if (had_ring) {
    lose(LostReason::hang_up, "the agent's socket was closed");
  }
  {
    const std::lock_guard lock(mutex_);
    want_disconnect_ = false;
  }
  changed_.notify_all();
}

void RingServer::lose(LostReason reason, const std::string& detail) {
  {
    const std::lock_guard lock(mutex_);
    if (lost_ || (pid_.load() == 0 && !connection_)) return;
    if (has_left_) reason = LostReason::disconnected;
    // A connection that never handed over a ring takes nobody's place away.
    const bool had_ring = pid_.load() != 0;
    connection_.reset();
    handed_over_ = false;
    want_disconnect_ = false;
    if (!had_ring) return;
    lost_ = true;
  }
  watched_.store(nullptr);
  changed_.notify_all();
  hooks_.lost(reason, detail);
}

}  // namespace phos::executor
