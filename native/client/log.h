// SPDX-License-Identifier: Apache-2.0
// The library's only words: stderr, and only where PHOS_LOG asks for them or the program cannot
// work.
#pragma once

namespace phos::client {

// One line on stderr whatever PHOS_LOG says: for what keeps the program from using the GPU at all.
void complain(const char* format, ...) noexcept __attribute__((format(printf, 1, 2)));
// One line on stderr where PHOS_LOG is set (and not 0).
void log(const char* format, ...) noexcept __attribute__((format(printf, 1, 2)));
bool log_enabled() noexcept;

}  // namespace phos::client
