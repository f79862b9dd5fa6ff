// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/runtime.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>

#include "drivers/sim/array.h"
#include "drivers/sim/capture.h"
#include "drivers/sim/graph.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/module.h"
#include "drivers/sim/pool.h"
#include "drivers/sim/ptx/threads.h"
#include "drivers/sim/sim.h"
#include "drivers/sim/texture.h"

namespace phos::sim {
namespace {

std::atomic<Runtime*> g_runtime{nullptr};
std::atomic<bool> g_forked{false};
std::atomic<std::uint64_t> g_threads{0};
thread_local ThreadState t_state{};

constexpr std::size_t kDefaultStackBytes = 1024;
constexpr std::size_t kDefaultPrintfBytes = 1U << 20;
constexpr std::size_t kDefaultHeapBytes = 8U << 20;

// A fork takes the lock, so that the child never inherits it in the hands of another thread.
void before_fork() noexcept {
  if (Runtime* all = g_runtime.load(std::memory_order_acquire)) {
    all->lock.lock();
  }
}
void after_fork_in_parent() noexcept {
  if (Runtime* all = g_runtime.load(std::memory_order_acquire)) {
    all->lock.unlock();
  }
}
void after_fork_in_child() noexcept {
  if (Runtime* all = g_runtime.load(std::memory_order_acquire)) {
    g_forked.store(all->initialised, std::memory_order_relaxed);
    all->lock.unlock();
  }
}

}  // namespace

Runtime::Runtime(const Settings& wanted)
    : settings(wanted),
      scheduler(lock, wanted.seed),
      memory(std::make_unique<Memory>(scheduler.step_lock())) {
  for (std::uint32_t i = 0; i < settings.devices; ++i) {
    auto device = std::make_unique<Device>();
    device->ordinal = static_cast<int>(i);
    device->memory_bytes = settings.memory_bytes;
    devices.push_back(std::move(device));
  }
}

std::shared_ptr<Context> Runtime::create_context(Device& device, unsigned flags, bool primary) {
  auto context = std::make_shared<Context>();
  context->device = &device;
  context->flags = flags;
  context->primary = primary;
  context->id = next_context_id++;
  context->limits[CU_LIMIT_STACK_SIZE] = kDefaultStackBytes;
  context->limits[CU_LIMIT_PRINTF_FIFO_SIZE] = kDefaultPrintfBytes;
  context->limits[CU_LIMIT_MALLOC_HEAP_SIZE] = kDefaultHeapBytes;
  context->limits[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64;
  context->handle = contexts.add(context);
  context->legacy = create_stream(*context, StreamKind::legacy, CU_STREAM_DEFAULT, 0);
  return context;
}

std::shared_ptr<Stream> Runtime::create_stream(Context& context, StreamKind kind, unsigned flags,
                                               int priority) {
  auto stream = std::make_shared<Stream>();
  stream->context = &context;
  stream->kind = kind;
  stream->flags = flags;
  stream->non_blocking = (flags & CU_STREAM_NON_BLOCKING) != 0;
  stream->priority = priority;
  stream->id = next_stream_id++;
  context.streams.push_back(stream.get());
  return stream;
}

void Runtime::destroy_context(std::unique_lock<std::mutex>& guard, Context& context) {
  scheduler.drop(guard, context, CUDA_ERROR_CONTEXT_IS_DESTROYED);
  std::vector<std::uint64_t> handles;
  streams.for_each([&](const std::shared_ptr<Stream>& stream) {
    if (stream->context == &context) {
      handles.push_back(stream->handle);
    }
  });
  for (const std::uint64_t handle : handles) {
    streams.remove(handle);
  }
  handles.clear();
  events.for_each([&](const std::shared_ptr<Event>& event) {
    if (event->context == &context) {
      handles.push_back(event->handle);
    }
  });
  for (const std::uint64_t handle : handles) {
    events.remove(handle);
  }
  handles.clear();
  arrays.for_each([&](const std::shared_ptr<Array>& array) {
    if (array->context == context.handle) {
      handles.push_back(array->handle);
    }
  });
  for (const std::uint64_t handle : handles) {
    arrays.remove(handle);
    detach_textures_of(handle);
  }
  forget_modules(*this, context);
  memory->free_context(context.handle);
  context.per_thread.clear();
  context.streams.clear();
  context.blocking_pending = 0;
  context.error = CUDA_SUCCESS;
  context.diagnostic.clear();
  if (context.primary) {
    context.active = false;
    context.legacy = create_stream(context, StreamKind::legacy, CU_STREAM_DEFAULT, 0);
  } else {
    contexts.remove(context.handle);
  }
}

Device* find_device(CUdevice ordinal) noexcept {
  auto& devices = runtime().devices;
  return ordinal < 0 || static_cast<std::size_t>(ordinal) >= devices.size()
             ? nullptr
             : devices[static_cast<std::size_t>(ordinal)].get();
}

Runtime* find_runtime() noexcept { return g_runtime.load(std::memory_order_acquire); }

Runtime& runtime() noexcept { return *g_runtime.load(std::memory_order_acquire); }

bool start_runtime() {
  static std::mutex starting;
  const std::lock_guard guard(starting);
  if (find_runtime() != nullptr) {
    return true;
  }
  const auto settings = read_settings();
  if (!settings) {
    return false;
  }
  pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  // Leaked on purpose: the device's thread and the program's exit handlers use it to the end.
  ptx::set_threads(settings->threads);
  g_runtime.store(new Runtime(*settings), std::memory_order_release);
  return true;
}

ThreadState& this_thread() noexcept { return t_state; }

std::uint64_t thread_number() noexcept {
  if (t_state.number == 0) {
    t_state.number = g_threads.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  return t_state.number;
}

CUresult Entry::initialised() const noexcept {
  // A child that was forked after cuInit has no device thread, and CUDA gives it this answer too.
  if (!runtime().initialised || g_forked.load(std::memory_order_relaxed)) {
    return CUDA_ERROR_NOT_INITIALIZED;
  }
  return CUDA_SUCCESS;
}

CUresult Entry::with_context() noexcept {
  const CUresult ready = initialised();
  if (ready != CUDA_SUCCESS) {
    return ready;
  }
  const ThreadState& thread = t_state;
  if (thread.depth == 0) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  context_ = runtime().contexts.find(thread.stack[thread.depth - 1]);
  if (context_ == nullptr || !context_->active) {
    return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  }
  return context_->error;
}

void Entry::leave() noexcept {
  if (!guard_.owns_lock()) {
    return;
  }
  const bool wake = runtime().scheduler.take_wake();
  guard_.unlock();
  if (wake) {
    runtime().scheduler.wake();
  }
}

Stream* find_stream(Context& context, CUstream handle) {
  std::uint64_t bits = handle_bits(handle);
  if (bits == 0) {
    bits = t_state.per_thread_default ? 2 : 1;
  }
  if (bits == 1) {
    return context.legacy.get();
  }
  if (bits == 2) {
    auto& stream = context.per_thread[thread_number()];
    if (!stream) {
      stream = runtime().create_stream(context, StreamKind::per_thread, CU_STREAM_DEFAULT, 0);
    }
    return stream.get();
  }
  return runtime().streams.find(bits);
}

CUresult submit(Entry& entry, Stream& stream, std::unique_ptr<Operation> operation) {
  if (stream.capture) {
    return capture_operation(stream, std::move(operation));
  }
  Context& context = *stream.context;
  if (context.error != CUDA_SUCCESS) {
    return context.error;
  }
  if (const CUresult legal = check_not_captured(stream); legal != CUDA_SUCCESS) {
    return legal;
  }
  Scheduler& scheduler = runtime().scheduler;
  scheduler.submit(stream, std::move(operation));
  scheduler.wait_for_room(entry.guard(), stream);
  return CUDA_SUCCESS;
}

CUresult synchronise(Entry& entry, Stream& stream) {
  Scheduler& scheduler = runtime().scheduler;
  if (stream.idle() && scheduler.is_idle(stream)) {
    return stream.context->error;
  }
  // Another thread may destroy these while this one sleeps.
  const std::shared_ptr<Context> context = runtime().contexts.share(stream.context->handle);
  std::vector<std::pair<std::shared_ptr<Stream>, std::uint64_t>> targets;
  targets.emplace_back(stream.shared_from_this(), stream.last);
  if (stream.kind == StreamKind::legacy) {
    for (Stream* other : context->streams) {
      if (other != &stream && !other->non_blocking && !other->idle()) {
        targets.emplace_back(other->shared_from_this(), other->last);
      }
    }
  }
  for (const auto& [target, sequence] : targets) {
    scheduler.wait(entry.guard(), *target, sequence);
  }
  return context->error;
}

void settle(Entry& entry) {
  const CUresult current = entry.with_context();
  if (current == CUDA_ERROR_NOT_INITIALIZED || current == CUDA_ERROR_INVALID_CONTEXT ||
      current == CUDA_ERROR_CONTEXT_IS_DESTROYED) {
    return;  // no context, no work in it
  }
  const std::shared_ptr<Context> context = runtime().contexts.share(entry.context().handle);
  std::vector<std::pair<std::shared_ptr<Stream>, std::uint64_t>> targets;
  for (Stream* stream : context->streams) {
    if (!stream->idle()) {
      targets.emplace_back(stream->shared_from_this(), stream->last);
    }
  }
  for (const auto& [stream, last] : targets) {
    runtime().scheduler.wait(entry.guard(), *stream, last);
  }
}

PerThreadDefaultStream::PerThreadDefaultStream() noexcept : before_(t_state.per_thread_default) {
  t_state.per_thread_default = true;
}

PerThreadDefaultStream::~PerThreadDefaultStream() { t_state.per_thread_default = before_; }

}  // namespace phos::sim
