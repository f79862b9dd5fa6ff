// SPDX-License-Identifier: Apache-2.0
// Threads that run blocks of one grid beside the device's own thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "../program.h"

namespace phos::sim::ptx {

// Positions in the launch order, handed out to whoever asks. Since they are taken in order, every
// block before one that faulted has been started.
struct BlockFeed {
  std::atomic<std::uint64_t> next{0};
};

// How many threads run a grid, the device's own included.
std::uint32_t crew_size() noexcept;

// Runs task(0) here and task(1) to task(count - 1) on other threads, and returns when all that were
// started have ended. Tasks that no thread had begun when task(0) ended are left out, so tasks must
// share their work. Tasks must not throw. Only one thread has the crew at a time: others run
// task(0) alone.
void run_crew(std::uint32_t count, const std::function<void(std::uint32_t)>& task);

// True if no thread of this function, or of those that it calls, can tell in which order blocks
// run: no atomics, no volatile or ordered accesses, no fences, no clocks, no calls of the host.
bool may_spread(const Program& program, std::uint32_t function);

}  // namespace phos::sim::ptx
