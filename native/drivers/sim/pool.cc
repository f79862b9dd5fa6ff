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

CUresult allocate_pooled(Context& context, std::uint64_t bytes, CUdeviceptr* out) {
  Block* block = nullptr;
  const CUresult result = runtime().memory->allocate(*context.device, context.handle, bytes,
                                                     BlockKind::pooled, &block);
  if (result == CUDA_SUCCESS) {
    *out = block->base;
  }
  return result;
}

bool is_pooled(std::uint64_t address) {
  const Block* block = runtime().memory->find(address);
  return block != nullptr && block->base == address && block->kind == BlockKind::pooled;
}

}  // namespace phos::sim
