// SPDX-License-Identifier: Apache-2.0
// Kernels that the simulated device runs by itself instead of interpreting their PTX: the change
// hash of the checkpoint engine, which reads all of a program's memory. PHOS_SIM_INTERPRET=1 turns
// this off; a test holds that both ways give the same.
#pragma once

#include <cstdint>

#include "drivers/sim/kernel_operation.h"

namespace phos::sim {

bool is_builtin(const Launch& launch);
// Runs blocks from `next` on, all of them or (with `turn.random`) a few. An address that is not
// mapped is a fault.
Step run_builtin(const Launch& launch, std::uint32_t& next, Turn& turn, Fault& fault);

}  // namespace phos::sim
