// SPDX-License-Identifier: Apache-2.0
#include "client/handle_table.h"

#include <new>

namespace phos::client {

namespace {

constexpr std::uint32_t kGenerationMask = 0xFFF;

}  // namespace

// SAFETY: constant-initialised and never destroyed: cudart calls in after destructors have run.
constinit HandleTable g_handle_tables[kMaxHandleType + 1];

std::uint64_t HandleTable::add(std::uint64_t parent) noexcept {
  lock_.lock();
  std::uint32_t index = 0;
  if (free_first_ != 0) {
    index = free_first_ - 1;
    free_first_ = slot_at(index)->next_free;
    if (free_first_ == 0) free_last_ = 0;
  } else {
    index = used_.load(std::memory_order_relaxed);
    if (index >= kMaxObjectsPerType) {
      lock_.unlock();
      return 0;
    }
    auto& chunk = chunks_[index / kChunkSlots];
    if (chunk.load(std::memory_order_relaxed) == nullptr) {
      auto* fresh = new (std::nothrow) HandleSlot[kChunkSlots];
      if (fresh == nullptr) {
        lock_.unlock();
        return 0;
      }
      chunk.store(fresh, std::memory_order_release);
    }
    used_.store(index + 1, std::memory_order_release);
  }
  HandleSlot* slot = slot_at(index);
  const std::uint32_t generation =
      ((slot->tag.load(std::memory_order_relaxed) >> 1) + 1) & kGenerationMask;
  slot->parent.store(parent, std::memory_order_relaxed);
  slot->tag.store(generation * 2 + 1, std::memory_order_release);
  lock_.unlock();
  return make_handle(type(), generation, index);
}

bool HandleTable::remove(std::uint64_t handle) noexcept {
  HandleSlot* slot = find(handle);
  if (slot == nullptr) return false;
  std::uint32_t alive = handle_generation(handle) * 2 + 1;
  if (!slot->tag.compare_exchange_strong(alive, alive - 1)) return false;
  const std::uint32_t place = handle_index(handle) + 1;
  lock_.lock();
  slot->next_free = 0;
  if (free_last_ != 0) {
    slot_at(free_last_ - 1)->next_free = place;
  } else {
    free_first_ = place;
  }
  free_last_ = place;
  lock_.unlock();
  return true;
}

}  // namespace phos::client
