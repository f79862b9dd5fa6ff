// SPDX-License-Identifier: Apache-2.0
// The sign of life in the ring: a robust futex that the client's agent thread holds for its life.
// A dead process's sockets and pidfd are noticed only after its memory is torn down (70 us a MiB);
// the kernel marks this word before that.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace phos::ring {

// Lives as long as the agent thread that calls hold(), which may hold no other robust futex
// (pthread's robust mutexes use the same per-thread list).
class AliveHolder {
 public:
  // Writes the calling thread's id into the word and registers it with the kernel.
  // Returns false, changing nothing, where the kernel refuses.
  bool hold(std::atomic<std::uint32_t>& word) noexcept;
  // A clean good-bye: the word becomes 0 and the kernel forgets it.
  void release(std::atomic<std::uint32_t>& word) noexcept;

 private:
  // The kernel's struct robust_list and robust_list_head (linux/futex.h).
  struct Node {
    Node* next;
  };
  struct Head {
    Node list;
    long futex_offset;
    Node* pending;
  };
  Head head_{};
  Node entry_{};
};

enum class Life : std::uint8_t { alive, died, never_held };

Life life_of(const std::atomic<std::uint32_t>& word) noexcept;
// Sleeps until the holder dies or says good-bye, at most `timeout_ns`. Returns what it then is.
Life wait_for_death(std::atomic<std::uint32_t>& word, std::uint64_t timeout_ns) noexcept;

}  // namespace phos::ring
