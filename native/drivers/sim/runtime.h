// SPDX-License-Identifier: Apache-2.0
// The one simulated driver of this process: its devices, its objects and its lock. It is made on
// first use and never destroyed, because the CUDA runtime calls in from its own exit handlers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "drivers/sim/context.h"
#include "drivers/sim/handle_table.h"
#include "drivers/sim/scheduler.h"
#include "drivers/sim/settings.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

class Memory;
struct Array;
struct Graph;
struct GraphNode;
struct GraphExec;
struct Library;
struct Kernel;
struct Function;
struct Physical;

class Runtime {
 public:
  explicit Runtime(const Settings& settings);

  std::mutex lock;  // guards everything below
  const Settings settings;
  std::atomic<bool> initialised{false};
  std::vector<std::unique_ptr<Device>> devices;
  HandleTable<Context, HandleKind::context> contexts;
  HandleTable<Stream, HandleKind::stream> streams;
  HandleTable<Event, HandleKind::event> events;
  HandleTable<Module, HandleKind::module> modules;
  HandleTable<Library, HandleKind::library> libraries;
  HandleTable<Kernel, HandleKind::kernel> kernels;
  HandleTable<Function, HandleKind::function> functions;
  HandleTable<Graph, HandleKind::graph> graphs;
  HandleTable<GraphNode, HandleKind::graph_node> graph_nodes;
  HandleTable<GraphExec, HandleKind::graph_exec> graph_execs;
  HandleTable<Pool, HandleKind::pool> pools;
  HandleTable<Physical, HandleKind::physical> physicals;
  HandleTable<Array, HandleKind::array> arrays;
  Scheduler scheduler;
  std::unique_ptr<Memory> memory;
  std::uint64_t next_context_id = 1;
  std::uint64_t next_stream_id = 1;

  // Makes a context with its legacy stream, not yet current anywhere.
  std::shared_ptr<Context> create_context(Device& device, unsigned flags, bool primary);
  // Empties its queues, frees what it owns and takes it out of the tables. A primary context keeps
  // its handle and becomes inactive.
  void destroy_context(std::unique_lock<std::mutex>& guard, Context& context);
  std::shared_ptr<Stream> create_stream(Context& context, StreamKind kind, unsigned flags,
                                        int priority);
};

// Null: no device has this ordinal.
Device* find_device(CUdevice ordinal) noexcept;

inline constexpr unsigned kKnownContextFlags =
    CU_CTX_SCHED_MASK | CU_CTX_MAP_HOST | CU_CTX_LMEM_RESIZE_TO_MAX | CU_CTX_COREDUMP_ENABLE |
    CU_CTX_USER_COREDUMP_ENABLE | CU_CTX_SYNC_MEMOPS;

// Null until fill_driver_table() has read valid settings.
Runtime* find_runtime() noexcept;
Runtime& runtime() noexcept;
bool start_runtime();

// Per-thread state: plain data, so that it needs no destructor at the end of a thread.
struct ThreadState {
  static constexpr unsigned kMaxDepth = 128;
  std::uint64_t stack[kMaxDepth];  // context handles; [depth - 1] is current
  unsigned depth;
  bool per_thread_default;
  std::uint64_t number;  // of this thread, from 1; 0: not given yet
  CUstreamCaptureMode capture_mode;
};
ThreadState& this_thread() noexcept;
std::uint64_t thread_number() noexcept;

// The way into every call: takes the lock and finds out whether the call may go on.
class Entry {
 public:
  Entry() : guard_(runtime().lock) {}
  ~Entry() { leave(); }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  std::unique_lock<std::mutex>& guard() noexcept { return guard_; }
  // cuInit has been called in this process (a forked child must call it anew and may not).
  CUresult initialised() const noexcept;
  // The calling thread has a current context that is alive; its sticky error, if any.
  CUresult with_context() noexcept;
  Context& context() noexcept { return *context_; }
  // Gives the lock back early and wakes the device if there is something to run.
  void leave() noexcept;

 private:
  std::unique_lock<std::mutex> guard_;
  Context* context_ = nullptr;
};

// The stream that a handle means for this thread in the context; null: CUDA_ERROR_INVALID_HANDLE.
Stream* find_stream(Context& context, CUstream handle);
inline Stream* find_stream(Entry& entry, CUstream handle) {
  return find_stream(entry.context(), handle);
}

// Puts an operation into a stream, or into the graph that the stream is capturing.
CUresult submit(Entry& entry, Stream& stream, std::unique_ptr<Operation> operation);

// Everything that the stream must have done when a synchronous call on it returns.
CUresult synchronise(Entry& entry, Stream& stream);

// Waits for all work in the current context: memory is about to go away.
void settle(Entry& entry);

}  // namespace phos::sim
