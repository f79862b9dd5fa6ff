// SPDX-License-Identifier: Apache-2.0
// Bugs of the checkpoint engine that tests plant on purpose, to show that they would be found. Only
// a test program that compiles the engine's files with PHOS_PLANTED_BUGS can plant one; in the
// product planted() is a constant.
#pragma once

#include <atomic>
#include <cstdint>

namespace phos::executor {

enum class Planted : std::uint8_t {
  none,
  no_wait_before,        // the copy does not wait for what came before the cut
  no_wait_after,         // what comes after the cut does not wait for the copy
  one_stream_forgotten,  // the copy waits for all streams but one
  unmap_early,           // memory that the copy still reads is unmapped, or used again
  aside_after_launch,    // a chunk is copied aside behind the command that writes it
  hash_before_drain,     // the hash at the cut is taken before earlier work has finished
};

#ifdef PHOS_PLANTED_BUGS
inline std::atomic<Planted> g_planted{Planted::none};
inline bool planted(Planted bug) noexcept { return g_planted == bug; }
inline void plant(Planted bug) noexcept { g_planted = bug; }
#else
constexpr bool planted(Planted) noexcept { return false; }
#endif

}  // namespace phos::executor
