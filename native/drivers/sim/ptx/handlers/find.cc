// SPDX-License-Identifier: Apache-2.0
// The door to this build's handlers.
#include "topics.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {

Handler find(const Key& key) {
  constexpr Handler (*topics[])(const Key&) = {
      find_integer, find_bits,    find_carry,  find_move,   find_compare, find_float, find_rounded,
      find_half,    find_approx,  find_convert, find_memory, find_atomic,  find_warp,  find_special,
      find_matrix,  find_video,  find_mbarrier,
  };
  for (const auto topic : topics) {
    if (const Handler handler = topic(key)) {
      return handler;
    }
  }
  return nullptr;
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
