// SPDX-License-Identifier: Apache-2.0
#include "client/copy_crew.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>

namespace phos::client {

namespace {

// Room for the thread-local storage of whatever the program has loaded; only touched pages count.
constexpr std::size_t kStackBytes = 1U << 20;

struct Work {
  Piece piece;
  void* context;
  std::uint64_t pieces;
  std::atomic<std::uint64_t> next{0};
  std::atomic<CUresult> failure{CUDA_SUCCESS};
};

void work(Work& all) noexcept {
  while (all.failure.load(std::memory_order_relaxed) == CUDA_SUCCESS) {
    const std::uint64_t index = all.next.fetch_add(1, std::memory_order_relaxed);
    if (index >= all.pieces) return;
    const CUresult status = all.piece(all.context, index);
    CUresult none = CUDA_SUCCESS;
    if (status != CUDA_SUCCESS) all.failure.compare_exchange_strong(none, status);
  }
}

void* helper(void* all) {
  work(*static_cast<Work*>(all));
  return nullptr;
}

// Fewer threads than asked for are fewer threads, not a failure.
std::uint32_t start_helpers(Work& all, std::uint32_t wanted, pthread_t* threads) noexcept {
  pthread_attr_t attributes;
  if (wanted == 0 || pthread_attr_init(&attributes) != 0) return 0;
  pthread_attr_setstacksize(&attributes, kStackBytes);
  // Signals are for the program's own threads.
  sigset_t every;
  sigset_t before;
  sigfillset(&every);
  pthread_sigmask(SIG_SETMASK, &every, &before);
  std::uint32_t started = 0;
  while (started < wanted && pthread_create(&threads[started], &attributes, helper, &all) == 0) {
    ++started;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return started;
}

}  // namespace

std::uint32_t crew_size(std::uint64_t pieces) noexcept {
  if (pieces < 2 * kPiecesEach) return 1;
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const int count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 2;
  const auto half = static_cast<std::uint32_t>(count) / 2;
  const std::uint32_t most = std::clamp<std::uint32_t>(half, 2, kMaxCrew);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(most, pieces / kPiecesEach));
}

CUresult run_pieces(std::uint64_t pieces, Piece piece, void* context) noexcept {
  Work all{piece, context, pieces};
  pthread_t threads[kMaxCrew];
  const std::uint32_t started = start_helpers(all, crew_size(pieces) - 1, threads);
  work(all);
  for (std::uint32_t i = 0; i < started; ++i) pthread_join(threads[i], nullptr);
  return all.failure.load();
}

}  // namespace phos::client
