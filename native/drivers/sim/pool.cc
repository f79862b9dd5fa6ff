// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/pool.h"

#include "drivers/sim/memory.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {

CUresult free_allocation(std::uint64_t base) {
  Runtime& all = runtime();
  const Block* block = all.memory->find(base);
  if (block != nullptr && block->base == base) {
    if (Pool* pool = all.pools.find(block->pool)) {
      pool->used -= block->bytes;
    }
  }
  return all.memory->free(base);
}

}  // namespace phos::sim
