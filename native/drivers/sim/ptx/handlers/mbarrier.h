// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace phos::sim::ptx {

enum class BarrierOp : std::uint8_t {
  init, inval, arrive, arrive_no_complete, drop, drop_no_complete, test_wait, test_parity,
  pending_count, copy_arrive,
};

}  // namespace phos::sim::ptx
