// SPDX-License-Identifier: Apache-2.0
#include "client/staging.h"

#include "client/agent.h"
#include "client/process.h"
#include "ring/futex.h"

namespace phos::client {

namespace {

constinit StagingHeader* g_staging = nullptr;
constinit std::atomic<std::uint32_t> g_next_slot{0};

void prepare(void* memory) {
  auto* header = new (memory) StagingHeader{};
  header->magic = kStagingMagic;
  header->slots = kStagingSlots;
  header->slot_bytes = kStagingSlotBytes;
  header->callback_slots = kCallbackSlots;
  g_staging = header;
}

bool try_take(std::uint32_t* index) noexcept {
  const std::uint32_t start = g_next_slot.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < kStagingSlots; ++i) {
    const std::uint32_t slot = (start + i) % kStagingSlots;
    std::uint32_t free = 0;
    if (g_staging->slot_state[slot].load(std::memory_order_relaxed) == 0 &&
        g_staging->slot_state[slot].compare_exchange_strong(free, 1)) {
      g_next_slot.store(slot + 1, std::memory_order_relaxed);
      *index = slot;
      return true;
    }
  }
  return false;
}

}  // namespace

StagingHeader* staging_header() noexcept { return g_staging; }

CUresult open_staging() noexcept {
  SharedArena* arena = nullptr;
  return share_arena(kArenaWindow, kStagingBytes, wire::ArenaKind::staging, prepare, &arena);
}

CUresult take_slot(StagingSlot* slot) noexcept {
  std::uint32_t index = 0;
  const auto taken = [&]() noexcept { return try_take(&index); };
  bool have = taken() || ring::spin_until(taken, ring::SpinPolicy{});
  while (!have) {
    const std::uint32_t seen = g_staging->released.load(std::memory_order_seq_cst);
    have = taken();
    if (have) break;
    const std::uint32_t poison = g_process.ring->poison.load();
    if (poison != 0) return static_cast<CUresult>(poison);
    ring::futex_wait(g_staging->released, seen, ring::kSliceNs, ring::Scope::shared);
    have = taken();
  }
  slot->index = index;
  // SAFETY: the arena holds kStagingSlots slots after its header.
  slot->data = reinterpret_cast<std::uint8_t*>(g_staging) + kStagingDataOffset +
               std::uint64_t{index} * kStagingSlotBytes;
  return CUDA_SUCCESS;
}

void give_slot(const StagingSlot& slot) noexcept {
  g_staging->slot_state[slot.index].store(0, std::memory_order_release);
  g_staging->released.fetch_add(1);
  // Waiters of this process sleep on the shared word too.
  ring::futex_wake(g_staging->released, 1, ring::Scope::shared);
}

void reset_staging_in_child() noexcept { g_staging = nullptr; }

}  // namespace phos::client
