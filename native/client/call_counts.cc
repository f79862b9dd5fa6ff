// SPDX-License-Identifier: Apache-2.0
#include "client/call_counts.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace phos::client {

constinit bool g_counts_calls = false;

namespace {

constexpr std::uint32_t kCalls = 0x800;
constexpr std::size_t kShown = 16;

// SAFETY: constant-initialised and leaked; threads may still wait while the table is printed.
constinit std::atomic<std::uint64_t> g_count[kCalls];
constinit std::atomic<std::uint64_t> g_waited_ns[kCalls];
constinit pid_t g_owner = 0;

void print_counts() {
  if (getpid() != g_owner) return;  // a child's handlers run too
  std::uint32_t order[kCalls];
  std::uint32_t used = 0;
  for (std::uint32_t id = 0; id < kCalls; ++id) {
    if (g_count[id].load() != 0) order[used++] = id;
  }
  std::sort(order, order + used, [](std::uint32_t a, std::uint32_t b) {
    return g_waited_ns[a].load() > g_waited_ns[b].load();
  });
  for (std::uint32_t i = 0; i < used && i < kShown; ++i) {
    const std::uint64_t count = g_count[order[i]].load();
    const double waited = static_cast<double>(g_waited_ns[order[i]].load());
    fprintf(stderr, "phos: waited %.3f ms in %llu calls of %s, %.2f us each\n", waited * 1e-6,
            static_cast<unsigned long long>(count), call_name(static_cast<CallId>(order[i])),
            waited * 1e-3 / static_cast<double>(count));
  }
}

}  // namespace

void begin_counting() noexcept {
  const char* asked = getenv("PHOS_COUNT_CALLS");
  if (g_counts_calls || asked == nullptr || *asked == '\0' || *asked == '0') return;
  g_owner = getpid();
  g_counts_calls = atexit(print_counts) == 0;
}

void count_wait(CallId call, std::uint64_t nanoseconds) noexcept {
  const auto id = static_cast<std::uint32_t>(call);
  if (id >= kCalls) return;
  g_count[id].fetch_add(1, std::memory_order_relaxed);
  g_waited_ns[id].fetch_add(nanoseconds, std::memory_order_relaxed);
}

}  // namespace phos::client
