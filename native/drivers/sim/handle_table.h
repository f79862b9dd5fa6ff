// SPDX-License-Identifier: Apache-2.0
// Handles that sim gives out: an index with a generation, so that a handle that is stale, of
// another type or simply wrong is found out and never followed. The caller holds the runtime lock.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace phos::sim {

enum class HandleKind : std::uint8_t {
  context = 1,
  module,
  library,
  kernel,
  function,
  pool,
  stream,
  event,
  graph,
  graph_node,
  graph_exec,
  physical,
  link,
  array,
  user_object,
};

// Bits 47..40 hold this, which no address of sim and no handle of phos has.
inline constexpr std::uint64_t kHandleMark = 0x5D;

template <class T, HandleKind kind>
class HandleTable {
 public:
  // Zero: the table is full.
  std::uint64_t add(std::shared_ptr<T> object) {
    std::uint32_t index = 0;
    if (!free_.empty()) {
      index = free_.back();
      free_.pop_back();
    } else if (slots_.size() < kMaxIndex) {
      index = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      return 0;
    }
    slots_[index].object = std::move(object);
    return encode(index, slots_[index].generation);
  }

  // Null: no such object.
  T* find(std::uint64_t handle) const noexcept {
    const Slot* slot = slot_of(handle);
    return slot == nullptr ? nullptr : slot->object.get();
  }
  std::shared_ptr<T> share(std::uint64_t handle) const noexcept {
    const Slot* slot = slot_of(handle);
    return slot == nullptr ? nullptr : slot->object;
  }

  std::shared_ptr<T> remove(std::uint64_t handle) {
    const Slot* found = slot_of(handle);
    if (found == nullptr || found->object == nullptr) {
      return nullptr;
    }
    const auto index = static_cast<std::uint32_t>(found - slots_.data());
    Slot& slot = slots_[index];
    std::shared_ptr<T> object = std::move(slot.object);
    slot.object = nullptr;
    slot.generation = (slot.generation + 1) & kGenerationMask;
    free_.push_back(index);
    return object;
  }

  template <class F>
  void for_each(F&& visit) const {
    for (const Slot& slot : slots_) {
      if (slot.object) {
        visit(slot.object);
      }
    }
  }

 private:
  static constexpr std::uint32_t kMaxIndex = 1U << 22;
  static constexpr std::uint32_t kGenerationMask = 0x3FF;

  struct Slot {
    std::shared_ptr<T> object;
    std::uint32_t generation = 0;
  };

  static std::uint64_t encode(std::uint32_t index, std::uint32_t generation) noexcept {
    return kHandleMark << 40 | static_cast<std::uint64_t>(kind) << 32 |
           std::uint64_t{generation} << 22 | index;
  }

  const Slot* slot_of(std::uint64_t handle) const noexcept {
    const auto index = static_cast<std::uint32_t>(handle & (kMaxIndex - 1));
    if (handle >> 32 != (kHandleMark << 8 | static_cast<std::uint64_t>(kind)) ||
        index >= slots_.size() ||
        slots_[index].generation != ((handle >> 22) & kGenerationMask)) {
      return nullptr;
    }
    return &slots_[index];
  }

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

// The kind that a handle claims to be; 0 for anything that is not a handle of sim.
constexpr std::uint8_t handle_kind(std::uint64_t handle) noexcept {
  return handle >> 40 == kHandleMark ? static_cast<std::uint8_t>(handle >> 32) : 0;
}

template <class H>
std::uint64_t handle_bits(H handle) noexcept {
  // SAFETY: handles are numbers that the API's types dress up as pointers; none is dereferenced.
  return reinterpret_cast<std::uint64_t>(handle);
}
template <class H>
H as_handle(std::uint64_t bits) noexcept {
  return reinterpret_cast<H>(bits);
}

}  // namespace phos::sim
