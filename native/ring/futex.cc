// SPDX-License-Identifier: Apache-2.0
#include "ring/futex.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bit>

namespace phos::ring {

static_assert(std::endian::native == std::endian::little, "the ring is little-endian");
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::uint64_t timeout_ns, Scope scope) noexcept {
  const timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000),
                         static_cast<long>(timeout_ns % 1'000'000'000)};
  const int operation = FUTEX_WAIT | (scope == Scope::process ? FUTEX_PRIVATE_FLAG : 0);
  // SAFETY: the word outlives the call (ring memory is never unmapped while it is in use).
  syscall(SYS_futex, &word, operation, expected, &timeout, nullptr, 0);
}

void futex_wake(const std::atomic<std::uint32_t>& word, int waiters, Scope scope) noexcept {
  const int operation = FUTEX_WAKE | (scope == Scope::process ? FUTEX_PRIVATE_FLAG : 0);
  syscall(SYS_futex, &word, operation, waiters, nullptr, nullptr, 0);
}

std::uint64_t monotonic_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

void yield_cpu() noexcept { sched_yield(); }

void FutexLock::lock_slowly() noexcept {
  for (int i = 0; i < 100; ++i) {
    std::uint32_t free = 0;
    if (word_.load(std::memory_order_relaxed) == 0 &&
        word_.compare_exchange_strong(free, 1, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
      return;
    }
    cpu_relax();
  }
  while (word_.exchange(2, std::memory_order_acquire) != 0) {
    futex_wait(word_, 2, kSliceNs, Scope::process);
  }
}

}  // namespace phos::ring
