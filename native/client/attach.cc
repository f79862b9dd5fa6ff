// SPDX-License-Identifier: Apache-2.0
#include "client/attach.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/socket.h"
#include "phos/ring_layout.h"
#include "ring/futex.h"

namespace phos::client {

namespace {

__attribute__((format(printf, 3, 4))) int refuse(AttachFailure* failure, CUresult status,
                                                 const char* format, ...) noexcept {
  failure->status = status;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(failure->message, sizeof(failure->message), format, arguments);
  va_end(arguments);
  return -1;
}

int refuse_connect(AttachFailure* failure, const char* who, const char* path) noexcept {
  const int error = errno;
  if (error == ENOENT || error == ECONNREFUSED) {
    return refuse(failure, CUDA_ERROR_SYSTEM_NOT_READY,
                  "%s is not running: no one listens at %s. Start it with `phos start`, or set "
                  "PHOS_RUNTIME_DIR to the folder it runs in",
                  who, path);
  }
  if (error == EPERM || error == EACCES) {
    return refuse(failure, CUDA_ERROR_NOT_PERMITTED,
                  "%s at %s belongs to another user. Start phosd as root or as this user", who,
                  path);
  }
  return refuse(failure, CUDA_ERROR_SYSTEM_NOT_READY, "cannot reach %s at %s: %s", who, path,
                strerror(error));
}

int refuse_answer(AttachFailure* failure, Received received, const char* who) noexcept {
  switch (received) {
    case Received::timeout:
      return refuse(failure, CUDA_ERROR_SYSTEM_NOT_READY,
                    "%s did not answer within %u s. `phos status` tells what it is doing", who,
                    wire::kAttachDeadlineMs / 1000);
    case Received::malformed:
      return refuse(failure, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
                    "%s speaks another version of the protocol than this library (%u). Run the "
                    "program with the `phos run` of the running phosd",
                    who, wire::kVersion);
    default:
      return refuse(failure, CUDA_ERROR_SYSTEM_NOT_READY, "%s hung up while the program attached",
                    who);
  }
}

int refuse_refused(AttachFailure* failure, std::span<const std::uint8_t> message) noexcept {
  wire::Refused refused{};
  memcpy(&refused, message.data(), sizeof(refused) < message.size() ? sizeof(refused)
                                                                    : message.size());
  std::size_t length = refused.message_bytes;
  if (length > message.size() - sizeof(refused)) length = message.size() - sizeof(refused);
  const CUresult status = refused.status == 0 ? CUDA_ERROR_SYSTEM_NOT_READY
                                              : static_cast<CUresult>(refused.status);
  return refuse(failure, status, "%.*s", static_cast<int>(length),
                reinterpret_cast<const char*>(message.data() + sizeof(refused)));
}

// NUL-separated NAME=VALUE of the variables that change what a driver does.
std::size_t collect_environment(std::span<std::uint8_t> buffer) noexcept {
  std::size_t used = 0;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    if (strncmp(*entry, "CUDA_", 5) != 0 && strncmp(*entry, "PHOS_", 5) != 0) continue;
    const std::size_t length = strlen(*entry) + 1;
    if (length > buffer.size() - used) continue;
    memcpy(buffer.data() + used, *entry, length);
    used += length;
  }
  return used;
}

// Hello to phosd, which says where the executor is. False with the reason.
bool ask_phosd(const AttachRequest& request, std::span<std::uint8_t> buffer, std::uint64_t deadline,
               wire::Welcome* welcome, AttachFailure* failure) noexcept {
  const int socket = connect_to(request.attach_path, deadline);
  if (socket < 0) {
    refuse_connect(failure, "phosd", request.attach_path);
    return false;
  }
  wire::Hello hello{};
  const std::size_t environment = collect_environment(buffer.first(buffer.size() - 4096));
  hello.header = make_header(wire::Type::hello, sizeof(hello) + environment, 1);
  memcpy(hello.client_id, request.client_id, sizeof(hello.client_id));
  hello.pid = static_cast<std::uint32_t>(getpid());
  hello.reattach = request.again ? 1 : 0;
  hello.ring_version = kRingVersion;
  hello.environment_bytes = static_cast<std::uint32_t>(environment);
  std::size_t bytes = 0;
  Received received = Received::closed;
  if (send_message(socket, &hello, sizeof(hello), buffer.data(), environment, -1)) {
    received = receive_message(socket, buffer, &bytes, deadline);
  }
  close(socket);
  if (received != Received::message) {
    refuse_answer(failure, received, "phosd");
    return false;
  }
  wire::Header header{};
  memcpy(&header, buffer.data(), sizeof(header));
  if (header.type == static_cast<std::uint16_t>(wire::Type::refused)) {
    refuse_refused(failure, buffer.first(bytes));
    return false;
  }
  if (header.type != static_cast<std::uint16_t>(wire::Type::welcome) || bytes != sizeof(*welcome)) {
    refuse_answer(failure, Received::malformed, "phosd");
    return false;
  }
  memcpy(welcome, buffer.data(), sizeof(*welcome));
  welcome->executor_path[sizeof(welcome->executor_path) - 1] = '\0';
  return true;
}

bool hand_over(int socket, const AttachRequest& request, const wire::Welcome& welcome) noexcept {
  wire::Handover handover{};
  handover.header = make_header(wire::Type::handover, sizeof(handover), (*request.next_serial)++);
  memcpy(handover.client_id, request.client_id, sizeof(handover.client_id));
  memcpy(handover.token, welcome.token, sizeof(handover.token));
  handover.ring_bytes = request.ring->bytes;
  handover.reattach = request.again ? 1 : 0;
  handover.arena_count = static_cast<std::uint32_t>(request.arenas.size());
  bool is_new = false;
  const int descriptor = descriptor_of(*request.ring, &is_new);
  bool sent = descriptor >= 0 &&
              send_message(socket, &handover, sizeof(handover), nullptr, 0, descriptor);
  if (is_new && descriptor >= 0) close(descriptor);
  for (SharedArena* arena : request.arenas) {
    sent = sent && send_arena(socket, *arena, wire::Type::arena);
  }
  return sent;
}

}  // namespace

bool send_arena(int socket, const SharedArena& arena, wire::Type type) noexcept {
  wire::Arena message{};
  message.header = make_header(type, sizeof(message), arena.serial);
  message.address = reinterpret_cast<std::uint64_t>(arena.file.address);
  message.bytes = arena.file.bytes;
  message.kind = static_cast<std::uint32_t>(arena.kind);
  if (type == wire::Type::release_arena) {
    return send_message(socket, &message, sizeof(message), nullptr, 0, -1);
  }
  bool is_new = false;
  const int descriptor = descriptor_of(arena.file, &is_new);
  const bool sent = descriptor >= 0 &&
                    send_message(socket, &message, sizeof(message), nullptr, 0, descriptor);
  if (is_new && descriptor >= 0) close(descriptor);
  return sent;
}

void take_ack(const wire::Ack& ack, std::span<SharedArena* const> arenas) noexcept {
  for (SharedArena* arena : arenas) {
    if (arena->serial != ack.header.serial) continue;
    arena->status = static_cast<CUresult>(ack.status);
    arena->answered.store(1, std::memory_order_release);
    ring::futex_wake(arena->answered, 1 << 30, ring::Scope::process);
  }
}

int attach(const AttachRequest& request, AttachFailure* failure) noexcept {
  const std::uint64_t deadline =
      ring::monotonic_ns() + std::uint64_t{wire::kAttachDeadlineMs} * 1'000'000;
  alignas(8) static std::uint8_t buffer[wire::kMaxMessageBytes];  // the agent is one thread
  wire::Welcome welcome{};
  if (!ask_phosd(request, buffer, deadline, &welcome, failure)) return -1;
  const int socket = connect_to(welcome.executor_path, deadline);
  if (socket < 0) return refuse_connect(failure, "the executor", welcome.executor_path);
  if (!hand_over(socket, request, welcome)) {
    const int error = errno;
    close(socket);
    return refuse(failure, CUDA_ERROR_SYSTEM_NOT_READY,
                  "cannot hand the command ring to the executor: %s", strerror(error));
  }
  for (;;) {
    std::size_t bytes = 0;
    const Received received = receive_message(socket, buffer, &bytes, deadline);
    wire::Header header{};
    if (received == Received::message) memcpy(&header, buffer, sizeof(header));
    const auto type = static_cast<wire::Type>(header.type);
    if (type == wire::Type::ack && bytes == sizeof(wire::Ack)) {
      wire::Ack ack{};
      memcpy(&ack, buffer, sizeof(ack));
      take_ack(ack, request.arenas);
      continue;
    }
    if (type == wire::Type::ready && bytes == sizeof(wire::Ready)) {
      wire::Ready ready{};
      memcpy(&ready, buffer, sizeof(ready));
      if (ready.status == 0) return socket;
      close(socket);
      return refuse(failure, static_cast<CUresult>(ready.status),
                    "the executor's driver failed to start with CUDA error %u", ready.status);
    }
    close(socket);
    if (type == wire::Type::refused) return refuse_refused(failure, {buffer, bytes});
    return refuse_answer(failure, received == Received::message ? Received::malformed : received,
                         "the executor");
  }
}

}  // namespace phos::client
