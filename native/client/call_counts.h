// SPDX-License-Identifier: Apache-2.0
// How often, and for how long, the program waited for answers, by call. Counted only where
// PHOS_COUNT_CALLS is set; the table goes to stderr when the program ends.
#pragma once

#include <cstdint>

#include "gen/call_ids.h"

namespace phos::client {

extern constinit bool g_counts_calls;

// Reads PHOS_COUNT_CALLS; called once, when the library attaches.
void begin_counting() noexcept;
void count_wait(CallId call, std::uint64_t nanoseconds) noexcept;

}  // namespace phos::client
