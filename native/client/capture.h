// SPDX-License-Identifier: Apache-2.0
// Stream capture as the program sees it. The executor captures in relaxed mode (one thread there
// serves all of the client's); the rules of the client's own modes (errors 900 to 908) are kept
// here.
#pragma once

#include <atomic>
#include <cstdint>

#include "phos/cuda_abi.h"

namespace phos::client {

struct Capture;

struct StreamInfo {
  std::uint32_t flags = 0;
  std::int32_t priority = 0;
  std::uint64_t context = 0;
  std::atomic<std::uint64_t> id{0};  // of cuStreamGetId; 0: not asked yet
  std::atomic<Capture*> capture{nullptr};
};
struct EventInfo {
  std::uint32_t flags = 0;
  std::atomic<std::uint64_t> captured_in{0};  // id of the capture that recorded it last, else 0
};

// Creates a stream in the current context, with its info.
CUresult make_stream(unsigned flags, int priority, std::uint64_t* stream) noexcept;

extern std::atomic<std::uint32_t> g_active_captures;
inline bool any_capture() noexcept {
  return __builtin_expect(g_active_captures.load(std::memory_order_acquire) != 0, 0);
}

// The capture that a stream takes part in, or nullptr. Streams 0 and 1 take part in none.
Capture* capture_of(std::uint64_t stream) noexcept;
bool is_capturing(std::uint64_t stream) noexcept;

// For calls that could wait for a capturing stream or break a capture (cuMemAlloc and its kin):
// 900, and the captures concerned are invalid, where the thread's capture mode forbids the call.
CUresult check_unsafe_slowly() noexcept;
inline CUresult check_unsafe() noexcept {
  return any_capture() ? check_unsafe_slowly() : CUDA_SUCCESS;
}
// For work put on a stream: 906 where it is the legacy stream and a blocking stream captures, 901
// where the stream's capture is invalid already.
CUresult check_submit_slowly(std::uint64_t stream) noexcept;
inline CUresult check_submit(std::uint64_t stream) noexcept {
  return any_capture() ? check_submit_slowly(stream) : CUDA_SUCCESS;
}
// For calls that wait for a stream: 900, and the capture is invalid, where it captures.
CUresult check_wait(std::uint64_t stream) noexcept;

// An event was recorded in the stream: it belongs to the stream's capture, or to none.
void note_record(std::uint64_t event, std::uint64_t stream) noexcept;
// A stream waits for an event: joins the event's capture, or 902, 905.
CUresult note_wait(std::uint64_t stream, std::uint64_t event, unsigned flags) noexcept;

}  // namespace phos::client
