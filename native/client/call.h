// SPDX-License-Identifier: Apache-2.0
// What generated and hand-written bodies of driver calls are made of: preconditions, handles, and
// the two ways of sending a command.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "client/contexts.h"
#include "client/handle_table.h"
#include "client/process.h"
#include "client/thread_state.h"
#include "gen/call_ids.h"
#include "gen/codec.h"
#include "gen/handle_types.h"
#include "phos/cuda_abi.h"

namespace phos::client {

struct Blob {
  const void* data;
  std::size_t size;
};
struct OutBlob {
  void* data;
  std::size_t capacity;
  std::size_t size;  // set: what came
};

inline CUresult require_init() noexcept {
  return is_ready() ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}
// CUDA_ERROR_NOT_INITIALIZED, CUDA_ERROR_INVALID_CONTEXT without a current context, or
// CUDA_ERROR_CONTEXT_IS_DESTROYED where it no longer lives.
CUresult require_context_slowly() noexcept;
inline CUresult require_context() noexcept {
  return is_ready() && is_active(current_context()) ? CUDA_SUCCESS : require_context_slowly();
}

// Checks a handle that the program gave. `wire` is what travels for it: the handle itself, 0, or
// the calling thread's default stream for CU_STREAM_PER_THREAD.
CUresult handle_arg(HandleType type, std::uint64_t handle, bool nullable,
                    std::uint64_t* wire) noexcept;
// A new handle whose parent is the current context.
CUresult new_handle(HandleType type, std::uint64_t* wire) noexcept;
CUresult new_handle_under(HandleType type, std::uint64_t parent, std::uint64_t* wire) noexcept;
// Forgets a handle whose creation failed.
void drop_handle(HandleType type, std::uint64_t handle) noexcept;
// Checks a handle and ends its life in the client: no later call, of any thread, may use it.
CUresult retire_handle(HandleType type, std::uint64_t handle, std::uint64_t* wire) noexcept;

// Sends a command that nobody waits for. Returns the poison of a dead executor or context.
CUresult send_async(CallId call, const void* fixed, std::size_t fixed_bytes,
                    std::span<const Blob> blobs) noexcept;
// What a call answers where the ring took no record: the poison, or that the record is too big.
CUresult begin_status(std::uint32_t status, CallId call) noexcept;

// A command that nobody waits for, of a request alone: in place, since most commands by number are
// of this kind.
template <class Req>
CUresult post(CallId call, const Req& request) noexcept {
  if (!has_ring()) return CUDA_ERROR_NOT_INITIALIZED;
  ring::RecordFields fields;
  fields.op = static_cast<std::uint16_t>(call);
  std::uint8_t* payload = nullptr;
  const std::uint32_t status = g_process.producer.begin(fields, sizeof(Req), &payload);
  if (__builtin_expect(status != 0, 0)) return begin_status(status, call);
  std::memcpy(payload, &request, sizeof(Req));
  g_process.producer.commit();
  return CUDA_SUCCESS;
}

// Sends a command and waits for its reply, which is copied to `reply` and `out`.
CUresult send_sync(CallId call, const void* fixed, std::size_t fixed_bytes,
                   std::span<const Blob> blobs, void* reply, std::size_t reply_bytes,
                   std::span<OutBlob> out) noexcept;

template <class Req>
CUresult call_async(CallId call, const Req& request) noexcept {
  return post(call, request);
}
template <class Req>
CUresult call_async(CallId call, const Req& request, std::span<const Blob> in) noexcept {
  return send_async(call, &request, sizeof(Req), in);
}
template <class Req, class Rep>
CUresult call_sync(CallId call, const Req& request, std::span<const Blob> in, Rep* reply,
                   std::span<OutBlob> out) noexcept {
  return send_sync(call, &request, sizeof(Req), in, reply, sizeof(Rep), out);
}
// A sync call without blobs; its id is that of the request.
template <class Req, class Rep>
CUresult ask(const Req& request, Rep* reply) noexcept {
  return send_sync(Req::kCall, &request, sizeof(Req), {}, reply, sizeof(Rep), {});
}
template <class Req>
CUresult tell(const Req& request) noexcept {
  return post(Req::kCall, request);
}
template <class Req>
CUresult tell(const Req& request, std::span<const Blob> in) noexcept {
  return send_async(Req::kCall, &request, sizeof(Req), in);
}

// Answers CUDA_ERROR_NOT_SUPPORTED and reports the function's name, once for each function.
CUresult report_unsupported(CallId call) noexcept;
// Tells under PHOS_LOG that a call of the program answered an error.
void log_answer(CallId call, CUresult result) noexcept;

// SAFETY (both): phos handles are integers in disguise and are never dereferenced.
template <class Pointer>
std::uint64_t bits_of(Pointer handle) noexcept {
  return reinterpret_cast<std::uint64_t>(handle);
}
template <class Pointer>
Pointer pointer_of(std::uint64_t handle) noexcept {
  return reinterpret_cast<Pointer>(handle);
}

}  // namespace phos::client
