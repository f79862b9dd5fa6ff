// SPDX-License-Identifier: Apache-2.0
#include "ring/alive.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring/futex.h"

namespace phos::ring {

bool AliveHolder::hold(std::atomic<std::uint32_t>& word) noexcept {
  // SAFETY: the kernel computes entry + futex_offset; the entry lies here, the word in the ring,
  // and both live as long as the thread does.
  head_.futex_offset = static_cast<long>(reinterpret_cast<std::intptr_t>(&word) -
                                         reinterpret_cast<std::intptr_t>(&entry_));
  head_.list.next = &entry_;
  entry_.next = &head_.list;
  head_.pending = nullptr;
  static_assert(sizeof(Head) == sizeof(robust_list_head));
  if (syscall(SYS_set_robust_list, &head_, sizeof(head_)) != 0) return false;
  word.store(static_cast<std::uint32_t>(syscall(SYS_gettid)), std::memory_order_release);
  return true;
}

void AliveHolder::release(std::atomic<std::uint32_t>& word) noexcept {
  head_.list.next = &head_.list;
  word.store(0, std::memory_order_release);
  futex_wake(word, 1 << 30, Scope::shared);
}

Life life_of(const std::atomic<std::uint32_t>& word) noexcept {
  const std::uint32_t value = word.load(std::memory_order_acquire);
  if ((value & FUTEX_OWNER_DIED) != 0) return Life::died;
  return (value & FUTEX_TID_MASK) == 0 ? Life::never_held : Life::alive;
}

Life wait_for_death(std::atomic<std::uint32_t>& word, std::uint64_t timeout_ns) noexcept {
  if (life_of(word) != Life::alive) return life_of(word);
  // The kernel wakes a robust futex at its owner's death only where this bit is set.
  std::uint32_t value = word.load(std::memory_order_acquire);
  while ((value & FUTEX_WAITERS) == 0) {
    if ((value & FUTEX_OWNER_DIED) != 0 || (value & FUTEX_TID_MASK) == 0) return life_of(word);
    if (word.compare_exchange_weak(value, value | FUTEX_WAITERS)) {
      value |= FUTEX_WAITERS;
      break;
    }
  }
  futex_wait(word, value, timeout_ns, Scope::shared);
  return life_of(word);
}

}  // namespace phos::ring
