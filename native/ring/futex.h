// SPDX-License-Identifier: Apache-2.0
// Futexes and the waiting policy of the ring: spin, then yield, then sleep in slices.
#pragma once

#include <atomic>
#include <cstdint>

#include "phos/ring_layout.h"

namespace phos::ring {

// Where a futex word lives: within this process only, or in memory shared between processes.
enum class Scope : std::uint8_t { process, shared };

// Sleeps while *word == expected, for at most `timeout_ns`. Returns on a wake, on a change, on a
// signal and at the timeout alike: callers always look again.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::uint64_t timeout_ns, Scope scope) noexcept;
void futex_wake(const std::atomic<std::uint32_t>& word, int waiters, Scope scope) noexcept;

// The low half of a cursor, which is what a futex can wait on.
inline const std::atomic<std::uint32_t>& low_half(
    const std::atomic<std::uint64_t>& cursor) noexcept {
  // SAFETY: the layout is little-endian (checked in futex.cc) and both atomics are lock-free words;
  // the kernel only compares these four bytes.
  return *reinterpret_cast<const std::atomic<std::uint32_t>*>(&cursor);
}

std::uint64_t monotonic_ns() noexcept;
void cpu_relax() noexcept;
void yield_cpu() noexcept;

inline constexpr std::uint64_t kSliceNs = std::uint64_t{kSleepSliceMs} * 1'000'000;

// How long a waiter spins before it sleeps. Measured on two cores: a 2 us spin is too short (99th
// percentile 38 us), spinning without yields on more threads than cores costs 24 ms at the 99th.
struct SpinPolicy {
  std::uint64_t pause_ns = 4'000;   // spinning with the pause instruction
  std::uint64_t yield_ns = 40'000;  // then with sched_yield, until this much time has passed
  std::uint64_t busy_ns = 10'000;   // the whole spin while the device is busy with something long
};

// Spins until `ready()` or until the budget is spent. Returns the last answer of `ready()`.
template <class Ready>
bool spin_until(Ready&& ready, const SpinPolicy& policy,
                const std::atomic<std::uint32_t>* busy = nullptr) noexcept {
  for (int i = 0; i < 64; ++i) {
    if (ready()) return true;
    cpu_relax();
  }
  const std::uint64_t start = monotonic_ns();
  for (;;) {
    const std::uint64_t spent = monotonic_ns() - start;
    const bool is_busy = busy != nullptr && busy->load(std::memory_order_relaxed) != 0;
    if (spent >= (is_busy ? policy.busy_ns : policy.yield_ns)) return ready();
    if (spent >= policy.pause_ns) yield_cpu();
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      cpu_relax();
    }
  }
}

// A lock of one process that survives a dump in any state: a plain word, no owner, no kernel state.
// 0 free, 1 held, 2 held and someone sleeps.
class FutexLock {
 public:
  void lock() noexcept {
    std::uint32_t free = 0;
    if (!word_.compare_exchange_strong(free, 1, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
      lock_slowly();
    }
  }
  void unlock() noexcept {
    if (word_.exchange(0, std::memory_order_release) == 2) futex_wake(word_, 1, Scope::process);
  }
  // For the child after fork, where the thread that held it no longer exists.
  void reset() noexcept { word_.store(0, std::memory_order_relaxed); }

 private:
  void lock_slowly() noexcept;
  std::atomic<std::uint32_t> word_{0};
};

}  // namespace phos::ring
