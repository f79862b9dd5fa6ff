// SPDX-License-Identifier: Apache-2.0
// The handshake of the CUDA runtime, as tables.cc sees it: built in or left out (the CMake option
// PHOS_CUDART_HANDSHAKE).
#pragma once

#include <cstdint>

#include "cudart-tables/tables.h"

namespace phos::cudart_tables {

// False where the handshake is left out of this build.
bool handshake_is_built_in() noexcept;

// Answers one question of the runtime. `interface_table` and `integrity_table` are the addresses
// that find_table() gave out, `function` that of the entry which was called.
struct HandshakeQuestion {
  std::uint32_t version;
  std::uint64_t unix_seconds;
  const void* interface_table;
  const void* integrity_table;
  const void* function;
};
void answer_handshake(const Host& host, const HandshakeQuestion& question,
                      std::uint64_t (&answer)[2]) noexcept;

}  // namespace phos::cudart_tables
