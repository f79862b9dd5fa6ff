// SPDX-License-Identifier: Apache-2.0
#include "client/thread_state.h"

#include <pthread.h>

#include <new>

#include "client/call.h"
#include "client/capture.h"

namespace phos::client {

constinit thread_local ThreadState* t_state __attribute__((tls_model("initial-exec"))) = nullptr;

namespace {

constinit pthread_once_t g_key_once = PTHREAD_ONCE_INIT;
constinit pthread_key_t g_key = 0;

// At a thread's end: its default streams go, and its reply slot goes to the next thread.
void end_of_thread(void* value) {
  auto* state = static_cast<ThreadState*>(value);
  t_state = state;  // the calls below need it once more
  if (is_ready()) {
    for (const ThreadStream& own : state->default_streams) {
      std::uint64_t wire = 0;
      if (retire_handle(HandleType::stream, own.stream, &wire) != CUDA_SUCCESS) continue;
      codec::Req_cuStreamDestroy request{};
      request.hStream = wire;
      state->current = own.context;
      tell(request);
    }
    g_process.replies.release(state->reply_slot);
  }
  t_state = nullptr;
  delete state;
}

void make_key() { pthread_key_create(&g_key, end_of_thread); }

}  // namespace

ThreadState& make_thread_state() noexcept {
  auto* state = new (std::nothrow) ThreadState();
  if (state == nullptr) {
    // Without 100 bytes nothing of CUDA can work; a shared state would mix up the threads'
    // contexts.
    __builtin_trap();
  }
  pthread_once(&g_key_once, make_key);
  pthread_setspecific(g_key, state);
  t_state = state;
  return *state;
}

std::uint64_t per_thread_stream(CUresult* error) noexcept {
  ThreadState& thread = this_thread();
  for (std::size_t i = 0; i < thread.default_streams.size(); ++i) {
    ThreadStream& own = thread.default_streams[i];
    if (own.context != thread.current) continue;
    if (handles_of(HandleType::stream).find(own.stream) != nullptr) return own.stream;
    thread.default_streams.erase(thread.default_streams.begin() + static_cast<std::ptrdiff_t>(i));
    break;
  }
  *error = require_context();
  if (*error != CUDA_SUCCESS) return 0;
  // A blocking stream: it waits for the legacy default stream and the other way round.
  std::uint64_t stream = 0;
  *error = make_stream(CU_STREAM_DEFAULT, 0, &stream);
  if (*error != CUDA_SUCCESS) return 0;
  thread.default_streams.push_back({thread.current, stream});
  return stream;
}

}  // namespace phos::client
