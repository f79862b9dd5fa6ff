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
void yield_cpu() noexcept;
// Tells the core that this thread spins.
inline void cpu_relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
// Asks for a cache line for writing, early enough that the store will not wait for it. A hint: any
// address is allowed.
inline void prefetch_for_write(const void* line) noexcept {
#if defined(__x86_64__)
  // The compiler's own builtin asks for reading where the target is the x86-64 baseline.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
  __builtin_prefetch(line, 1);
#endif
}

inline constexpr std::uint64_t kSliceNs = std::uint64_t{kSleepSliceMs} * 1'000'000;

// How long a waiter spins before it sleeps. Falling asleep and being woken costs 30 to 55 us on a
// machine whose idle cores halt, so spinning for about that long is never more than twice as dear
// as the best choice. The first part pauses only: a reply that comes takes well under 1 us, and a
// system call there would be most of the call. The rest yields, so that on a machine with fewer
// cores than threads the program's own threads run instead (spinning without yields on more threads
// than cores cost 24 ms at the 99th percentile; a spin of 2 us in all is too short, 38 us there).
struct SpinPolicy {
  std::uint64_t pause_ns = 4'000;   // spinning with the pause instruction
  std::uint64_t yield_ns = 40'000;  // then with sched_yield, until this much time has passed
  std::uint64_t busy_ns = 10'000;   // the whole spin while the device is busy with something long
};

// Learns from how long waits last: where several in a row outlasted any spin by far, the next ones
// sleep sooner, and one that a full spin would have caught makes them spin in full again. Waits
// that end while pausing tell nothing, since they cost nobody anything. Owned by one waiter.
class SpinBudget {
 public:
  SpinPolicy of(const SpinPolicy& full) const noexcept {
    SpinPolicy policy = full;
    policy.yield_ns >>= long_waits_;
    policy.busy_ns >>= long_waits_;
    if (policy.pause_ns > policy.yield_ns) policy.pause_ns = policy.yield_ns;
    return policy;
  }
  // After its spin a wait slept for this long, the waking included.
  void note_sleep(std::uint64_t slept_ns) noexcept {
    if (slept_ns < kWorthSpinningNs) {
      long_waits_ = 0;
    } else if (long_waits_ < kMostHalvings) {
      ++long_waits_;
    }
  }
  std::uint32_t long_waits() const noexcept { return long_waits_; }

  static constexpr std::uint64_t kWorthSpinningNs = 100'000;  // a full spin and a waking
  static constexpr std::uint8_t kMostHalvings = 3;

 private:
  std::uint8_t long_waits_ = 0;
};

// Spins until `ready()` or until the budget is spent. Returns the last answer of `ready()`.
template <class Ready>
bool spin_until(Ready&& ready, const SpinPolicy& policy,
                const std::atomic<std::uint32_t>* busy = nullptr) noexcept {
  // As long as most replies take, without a look at the clock.
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
  // unlock(), and a full barrier: what was stored before is visible to others before anything that
  // is loaded after. On x86 the exchange is that barrier already.
  void unlock_with_fence() noexcept {
    const bool wanted = word_.exchange(0, std::memory_order_seq_cst) == 2;
#if defined(__x86_64__)
    std::atomic_signal_fence(std::memory_order_seq_cst);
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
    if (wanted) futex_wake(word_, 1, Scope::process);
  }
  // For the child after fork, where the thread that held it no longer exists.
  void reset() noexcept { word_.store(0, std::memory_order_relaxed); }

 private:
  void lock_slowly() noexcept;
  std::atomic<std::uint32_t> word_{0};
};

}  // namespace phos::ring
