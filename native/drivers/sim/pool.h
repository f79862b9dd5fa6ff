// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "drivers/sim/context.h"

namespace phos::sim {

// A pool of stream-ordered memory. Guarded by the runtime lock.
struct Pool {
  std::uint64_t handle = 0;
  Device* device = nullptr;
  std::uint64_t used = 0;
  std::uint64_t used_high = 0;
  std::uint64_t release_threshold = 0;
  std::array<int, 3> reuse{1, 1, 1};
};

// Frees an allocation by its exact base, and takes it off its pool's account. Nothing may use it
// any more. Errors: 1.
CUresult free_allocation(std::uint64_t base);

// Memory of no pool for a graph's allocation node: it stays for as long as the context.
CUresult allocate_pooled(Context& context, std::uint64_t bytes, CUdeviceptr* out);
// True where a pooled allocation begins.
bool is_pooled(std::uint64_t address);

}  // namespace phos::sim
