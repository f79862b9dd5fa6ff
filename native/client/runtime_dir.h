// SPDX-License-Identifier: Apache-2.0
// Where phosd's sockets are: the same rule as src/model/runtime-dir.ts.
#pragma once

#include <stddef.h>

namespace phos::client {

// PHOS_RUNTIME_DIR; else /run/phos as root; else $XDG_RUNTIME_DIR/phos; else a folder of the uid in
// the temporary directory. Writes a NUL-terminated path; false where it does not fit.
bool runtime_dir(char* path, size_t capacity) noexcept;

}  // namespace phos::client
