// SPDX-License-Identifier: Apache-2.0
// Fault points: places at which a test makes a step fail. PHOS_FAULT holds
// `point:nth[:kind]`, several separated by commas; the nth pass of that point fails, or every pass
// when nth is 0. Kinds: eio (default), enospc, eacces, device (a driver error), short (half of a
// write, then a full disk), delay (half a second), hold (while a file with the point's name is in
// the folder of PHOS_FAULT_HOLD) and crash (SIGKILL to this process). Points count their passes
// together over native code and TypeScript, and cost one load when unset. docs/faults.md lists
// them. PHOS_FAULT_MARK names a file to which each fault adds its point as it happens.
#pragma once

#include <cerrno>

namespace phos::executor {

// What `short` answers; points that write do half of it, at others it is an error like any other.
inline constexpr int kShortWrite = ENODATA;
inline constexpr unsigned kFaultDelayUs = 500'000;
// The longest that `hold` stands; then it is an error.
inline constexpr unsigned kFaultHoldMs = 60'000;

// The errno to fail with, 0 to go on. `device` answers EREMOTEIO.
int fault_point(const char* name) noexcept;
// Reads `specification` instead of PHOS_FAULT from here on; for tests. Null: no faults.
void set_faults(const char* specification) noexcept;

}  // namespace phos::executor
