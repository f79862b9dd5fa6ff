// SPDX-License-Identifier: Apache-2.0
#include "cudart-tables/storage.h"

#include <atomic>
#include <cstdint>

#include "cudart-tables/tables.h"
#include "ring/futex.h"

namespace phos::cudart_tables {

namespace {

// Each library that carries a cudart of its own (cuBLAS, cuDNN ...) stores one value a context.
constexpr std::uint32_t kMost = 1024;

struct Entry {
  std::atomic<CUcontext> context{nullptr};  // nullptr: free
  std::atomic<void*> key{nullptr};
  std::atomic<void*> value{nullptr};
  Destructor destructor = nullptr;
};

// SAFETY: constant-initialised and never destroyed: cudart calls in after destructors have run.
constinit Entry g_entries[kMost];
constinit std::atomic<std::uint32_t> g_used{0};
constinit ring::FutexLock g_lock;

Entry* find(CUcontext context, void* key) noexcept {
  const std::uint32_t used = g_used.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < used; ++i) {
    Entry& entry = g_entries[i];
    if (entry.key.load(std::memory_order_acquire) == key &&
        entry.context.load(std::memory_order_acquire) == context) {
      return &entry;
    }
  }
  return nullptr;
}

Entry* free_entry() noexcept {
  const std::uint32_t used = g_used.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < used; ++i) {
    if (g_entries[i].context.load(std::memory_order_relaxed) == nullptr) return &g_entries[i];
  }
  if (used == kMost) return nullptr;
  return &g_entries[used];
}

}  // namespace

CUresult put_value(CUcontext context, void* key, void* value, Destructor destructor) noexcept {
  g_lock.lock();
  CUresult status = CUDA_ERROR_INVALID_VALUE;
  if (find(context, key) == nullptr) {
    status = CUDA_ERROR_OUT_OF_MEMORY;
    if (Entry* entry = free_entry(); entry != nullptr) {
      entry->destructor = destructor;
      entry->value.store(value, std::memory_order_release);
      entry->key.store(key, std::memory_order_release);
      entry->context.store(context, std::memory_order_release);
      const auto place = static_cast<std::uint32_t>(entry - g_entries);
      if (place == g_used.load()) g_used.store(place + 1, std::memory_order_release);
      status = CUDA_SUCCESS;
    }
  }
  g_lock.unlock();
  return status;
}

CUresult delete_value(CUcontext context, void* key) noexcept {
  g_lock.lock();
  Entry* entry = find(context, key);
  if (entry != nullptr) {
    entry->context.store(nullptr, std::memory_order_release);
    entry->key.store(nullptr, std::memory_order_release);
  }
  g_lock.unlock();
  return entry == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult get_value(CUcontext context, void* key, void** value) noexcept {
  const Entry* entry = find(context, key);
  if (entry == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *value = entry->value.load(std::memory_order_acquire);
  return CUDA_SUCCESS;
}

void drop_storage(CUcontext context) noexcept {
  const std::uint32_t used = g_used.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < used; ++i) {
    Entry& entry = g_entries[i];
    g_lock.lock();
    const bool mine = entry.context.load() == context;
    void* key = entry.key.load();
    void* value = entry.value.load();
    const Destructor destructor = entry.destructor;
    if (mine) {
      entry.context.store(nullptr, std::memory_order_release);
      entry.key.store(nullptr, std::memory_order_release);
    }
    g_lock.unlock();
    // Outside the lock: the runtime's destructor calls back in.
    if (mine && destructor != nullptr) destructor(context, key, value);
  }
}

}  // namespace phos::cudart_tables
