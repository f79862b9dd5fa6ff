// SPDX-License-Identifier: Apache-2.0
// Fault points: places at which a test makes a step fail. PHOS_FAULT holds
// `point:nth[:kind]`, several separated by commas; the nth pass of that point fails. Kinds: eio
// (default), enospc, eacces, device (a driver error) and crash (SIGKILL to this process). Points
// count their passes together over native code and TypeScript, and cost one load when unset.
#pragma once

namespace phos::executor {

// The errno to fail with, 0 to go on. `device` answers EREMOTEIO.
int fault_point(const char* name) noexcept;
// Reads `specification` instead of PHOS_FAULT from here on; for tests. Null: no faults.
void set_faults(const char* specification) noexcept;

}  // namespace phos::executor
