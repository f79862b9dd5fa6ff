// SPDX-License-Identifier: Apache-2.0
// Which handles are alive. Looking one up takes no lock: a slot is never freed, and its tag holds
// the generation that a handle must have. What a slot's object points at is never freed either; the
// next handle in the same slot uses it again. So a program that uses a stale handle gets an error
// from CUDA's list, and never a crash in here.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

#include "gen/handle_types.h"
#include "phos/handle.h"
#include "ring/futex.h"

namespace phos::client {

struct HandleSlot {
  std::atomic<std::uint32_t> tag{0};  // generation * 2 + 1 while alive
  std::uint32_t next_free = 0;
  std::atomic<std::uint64_t> parent{0};  // handle of the object that this one cannot outlive
  std::atomic<void*> object{nullptr};    // of the type's own structure, see object_of()
};

class HandleTable {
 public:
  constexpr HandleTable() = default;
  inline std::uint8_t type() const noexcept;

  // A new handle, or 0 where kMaxObjectsPerType are alive or memory is short.
  std::uint64_t add(std::uint64_t parent) noexcept;
  // True if this call ended it: of two threads that destroy one object, one is told that it lives.
  bool remove(std::uint64_t handle) noexcept;
  // The slot of a living handle, or nullptr.
  HandleSlot* find(std::uint64_t handle) const noexcept {
    if (!is_handle(handle)) return nullptr;
    const std::uint32_t index = handle_index(handle);
    if (index >= used_.load(std::memory_order_acquire)) return nullptr;
    HandleSlot* chunk = chunks_[index / kChunkSlots].load(std::memory_order_acquire);
    HandleSlot* slot = chunk + index % kChunkSlots;
    const std::uint32_t tag = slot->tag.load(std::memory_order_acquire);
    return tag == handle_generation(handle) * 2 + 1 ? slot : nullptr;
  }
  // Removes every handle with this parent and calls `gone` for each before that.
  template <class Gone>
  void remove_children(std::uint64_t parent, Gone&& gone) noexcept {
    const std::uint32_t used = used_.load(std::memory_order_acquire);
    for (std::uint32_t index = 0; index < used; ++index) {
      HandleSlot* slot = slot_at(index);
      const std::uint32_t tag = slot->tag.load(std::memory_order_acquire);
      if ((tag & 1) == 0 || slot->parent.load(std::memory_order_relaxed) != parent) continue;
      const std::uint64_t handle = make_handle(type(), tag >> 1, index);
      gone(handle, *slot);
      remove(handle);
    }
  }
  template <class Each>
  void for_each(Each&& each) noexcept {
    const std::uint32_t used = used_.load(std::memory_order_acquire);
    for (std::uint32_t index = 0; index < used; ++index) {
      const std::uint32_t tag = slot_at(index)->tag.load(std::memory_order_acquire);
      if ((tag & 1) != 0) each(make_handle(type(), tag >> 1, index));
    }
  }

 private:
  static constexpr std::uint32_t kChunkSlots = 1024;
  static constexpr std::uint32_t kChunks = (kMaxObjectsPerType + kChunkSlots) / kChunkSlots;

  HandleSlot* slot_at(std::uint32_t index) const noexcept {
    return chunks_[index / kChunkSlots].load(std::memory_order_acquire) + index % kChunkSlots;
  }

  ring::FutexLock lock_;
  std::atomic<std::uint32_t> used_{0};
  // Freed slots wait in a queue, so that a generation comes back as late as possible. Index + 1.
  std::uint32_t free_first_ = 0;
  std::uint32_t free_last_ = 0;
  std::atomic<HandleSlot*> chunks_[kChunks]{};
};

// The table of a type. All exist from the start; nothing is constructed at load.
extern HandleTable g_handle_tables[kMaxHandleType + 1];
inline HandleTable& handles_of(HandleType type) noexcept {
  return g_handle_tables[static_cast<std::uint8_t>(type)];
}

// A table's place in the array is its type.
inline std::uint8_t HandleTable::type() const noexcept {
  return static_cast<std::uint8_t>(this - g_handle_tables);
}

// The client's own structure behind a living handle (allocated on first use, reused with the slot),
// or nullptr for a handle that is not alive or memory that is short.
template <class Object>
Object* object_of(HandleType type, std::uint64_t handle) noexcept {
  HandleSlot* slot = handles_of(type).find(handle);
  if (slot == nullptr) return nullptr;
  void* object = slot->object.load(std::memory_order_acquire);
  if (object == nullptr) {
    auto* fresh = new (std::nothrow) Object();
    if (fresh == nullptr) return nullptr;
    if (slot->object.compare_exchange_strong(object, fresh)) return fresh;
    delete fresh;
  }
  return static_cast<Object*>(object);
}

}  // namespace phos::client
