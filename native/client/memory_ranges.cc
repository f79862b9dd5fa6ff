// SPDX-License-Identifier: Apache-2.0
#include "client/memory_ranges.h"

#include <map>
#include <new>
#include <vector>

#include "ring/futex.h"

namespace phos::client {

namespace {

using Ranges = std::map<std::uint64_t, MemoryRange>;

// SAFETY: leaked, as everything that cudart may use after our destructors would have run.
constinit ring::FutexLock g_lock;
constinit Ranges* g_ranges = nullptr;
constinit std::uint64_t g_next_buffer_id = 1;

class Locked {
 public:
  Locked() noexcept {
    g_lock.lock();
    if (g_ranges == nullptr) g_ranges = new (std::nothrow) Ranges();
  }
  ~Locked() { g_lock.unlock(); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  explicit operator bool() const noexcept { return g_ranges != nullptr; }
};

Ranges::iterator holder(std::uint64_t address) noexcept {
  auto after = g_ranges->upper_bound(address);
  if (after == g_ranges->begin()) return g_ranges->end();
  --after;
  return address < after->second.end() ? after : g_ranges->end();
}

}  // namespace

bool add_range(MemoryRange range) noexcept {
  const Locked lock;
  if (!lock || range.bytes == 0) return false;
  const auto next = g_ranges->lower_bound(range.base);
  if (next != g_ranges->end() && next->first < range.end()) return false;
  if (holder(range.base) != g_ranges->end()) return false;
  range.buffer_id = g_next_buffer_id++;
  g_ranges->emplace(range.base, range);
  return true;
}

bool find_range(std::uint64_t address, MemoryRange* range) noexcept {
  const Locked lock;
  if (!lock) return false;
  const auto found = holder(address);
  if (found == g_ranges->end()) return false;
  *range = found->second;
  return true;
}

bool range_holds(std::uint64_t address, std::uint64_t bytes, MemoryRange* range) noexcept {
  return find_range(address, range) && bytes <= range->end() - address;
}

bool take_range(std::uint64_t base, bool (*accept)(const MemoryRange&),
                MemoryRange* range) noexcept {
  const Locked lock;
  if (!lock) return false;
  const auto found = g_ranges->find(base);
  if (found == g_ranges->end() || !accept(found->second)) return false;
  *range = found->second;
  g_ranges->erase(found);
  return true;
}

void forget_ranges_of(std::uint64_t context,
                      const std::function<void(const MemoryRange&)>& gone) noexcept {
  std::vector<MemoryRange> taken;
  {
    const Locked lock;
    if (!lock) return;
    for (auto it = g_ranges->begin(); it != g_ranges->end();) {
      if (it->second.context == context && !it->second.is_host()) {
        taken.push_back(it->second);
        it = g_ranges->erase(it);
      } else {
        ++it;
      }
    }
  }
  for (const MemoryRange& range : taken) gone(range);
}

void forget_ranges_of_owner(std::uint64_t owner) noexcept {
  const Locked lock;
  if (lock) std::erase_if(*g_ranges, [&](const auto& it) { return it.second.owner == owner; });
}

bool set_sync_memops(std::uint64_t address, bool value) noexcept {
  const Locked lock;
  if (!lock) return false;
  const auto found = holder(address);
  if (found == g_ranges->end()) return false;
  found->second.sync_memops = value;
  return true;
}

}  // namespace phos::client
