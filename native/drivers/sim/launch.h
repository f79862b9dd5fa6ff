// SPDX-License-Identifier: Apache-2.0
// Checks of launches, and the numbers that they are checked against.
#pragma once

#include <cstdint>

#include "drivers/sim/kernel_operation.h"
#include "drivers/sim/module.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

// A launch as the API describes it.
struct LaunchRequest {
  CUfunction function = nullptr;
  unsigned grid[3] = {1, 1, 1};
  unsigned block[3] = {1, 1, 1};
  unsigned shared_bytes = 0;
  bool cooperative = false;
  void** parameters = nullptr;
  void** extra = nullptr;
};

// Everything that CUDA answers at the call. Errors: 1 dimensions, parameters or shared memory out
// of range; 400 no such function; 701 too many threads for its registers; 720 cooperative and too
// large; what loading the kernel's library answers.
CUresult prepare_launch(Context& context, const LaunchRequest& request, Launch& launch);

// Blocks of this many threads and bytes that one multiprocessor holds at once.
int resident_blocks(const Function& function, int block_threads, std::uint64_t dynamic_bytes);
// Dynamic shared memory that a launch may ask for.
std::uint64_t dynamic_limit(const Function& function) noexcept;
// Dynamic shared memory of each block when `blocks` blocks share a multiprocessor.
std::uint64_t available_dynamic(const Function& function, int blocks, int block_threads);

}  // namespace phos::sim
