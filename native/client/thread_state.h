// SPDX-License-Identifier: Apache-2.0
// What CUDA keeps for each thread: the stack of contexts, the capture mode, the default streams.
#pragma once

#include <cstdint>
#include <vector>

#include "phos/cuda_abi.h"
#include "phos/ring_layout.h"

namespace phos::client {

struct ThreadStream {
  std::uint64_t context;
  std::uint64_t stream;
};

struct ThreadState {
  std::uint64_t current = 0;  // top of the stack, 0 if there is none
  std::vector<std::uint64_t> below;
  std::uint32_t reply_slot = kNoReply;
  CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::uint32_t own_captures = 0;  // captures in thread-local mode that this thread began
  std::vector<ThreadStream> default_streams;  // what CU_STREAM_PER_THREAD is, for each context
};

extern constinit thread_local ThreadState* t_state __attribute__((tls_model("initial-exec")));

// Makes the calling thread's state. It is given back when the thread ends.
ThreadState& make_thread_state() noexcept;

inline ThreadState& this_thread() noexcept {
  return __builtin_expect(t_state != nullptr, 1) ? *t_state : make_thread_state();
}
inline std::uint64_t current_context() noexcept { return this_thread().current; }

// The calling thread's default stream in its current context, created on first use; 0 on failure.
std::uint64_t per_thread_stream(CUresult* error) noexcept;

}  // namespace phos::client
