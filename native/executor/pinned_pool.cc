// SPDX-License-Identifier: Apache-2.0
#include "executor/pinned_pool.h"

namespace phos::executor {

std::uint8_t* PinnedPool::take() {
  const std::lock_guard lock(mutex_);
  if (spare_.empty()) {
    void* slab = nullptr;
    if (driver_.cuMemHostAlloc(&slab, kSlabBlocks * kBlockBytes, CU_MEMHOSTALLOC_PORTABLE) !=
        CUDA_SUCCESS) {
      return nullptr;
    }
    slabs_.push_back(slab);
    for (std::size_t i = 0; i < kSlabBlocks; ++i) {
      spare_.push_back(static_cast<std::uint8_t*>(slab) + i * kBlockBytes);
    }
  }
  std::uint8_t* block = spare_.back();
  spare_.pop_back();
  return block;
}

void PinnedPool::give(std::uint8_t* block) {
  const std::lock_guard lock(mutex_);
  spare_.push_back(block);
}

void PinnedPool::clear() {
  const std::lock_guard lock(mutex_);
  for (void* slab : slabs_) driver_.cuMemFreeHost(slab);
  slabs_.clear();
  spare_.clear();
}

}  // namespace phos::executor
