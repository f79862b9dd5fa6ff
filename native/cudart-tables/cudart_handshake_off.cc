// SPDX-License-Identifier: Apache-2.0
// In place of cudart_handshake.cc where PHOS_CUDART_HANDSHAKE is OFF.
#include "cudart-tables/handshake.h"

namespace phos::cudart_tables {

bool handshake_is_built_in() noexcept { return false; }

void answer_handshake(const Host&, const HandshakeQuestion&, std::uint64_t (&answer)[2]) noexcept {
  answer[0] = 0;
  answer[1] = 0;
}

}  // namespace phos::cudart_tables
