// SPDX-License-Identifier: Apache-2.0
// Functions of the program in stream order. The driver calls a trampoline here; it posts the
// function's id in the staging arena (staging_layout.h), wakes the client's callback thread, and
// holds the stream until the client says that the function has returned.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "gen/driver_table.h"

namespace phos::executor {

class HostArenas;

class Callbacks {
 public:
  Callbacks(const DriverTable& driver, HostArenas& arenas) : driver_(driver), arenas_(arenas) {}

  // The function as a node of a graph.
  CUDA_HOST_NODE_PARAMS as_node(std::uint64_t id);
  // Queues the function behind everything on the stream. `with_status`: it is a stream callback,
  // which runs after an error too.
  CUresult enqueue(CUstream stream, std::uint64_t id, bool with_status);
  // The client is gone: nobody will run a function any more, and no stream waits for one.
  void abandon() noexcept { abandoned_.store(true, std::memory_order_release); }
  std::uint32_t running() const noexcept { return running_.load(std::memory_order_acquire); }

 private:
  // Lives for as long as the executor does: a captured graph may call it any number of times.
  struct Ticket {
    Callbacks* owner;
    std::uint64_t id;
  };
  static void on_host_function(void* user);
  static void on_stream_callback(CUstream stream, CUresult status, void* user);
  void run(std::uint64_t id, CUresult status) noexcept;

  const DriverTable& driver_;
  HostArenas& arenas_;
  std::mutex mutex_;
  std::deque<Ticket> tickets_;
  std::atomic<bool> abandoned_{false};
  std::atomic<std::uint32_t> running_{0};
};

}  // namespace phos::executor
