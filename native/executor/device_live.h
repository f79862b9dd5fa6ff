// SPDX-License-Identifier: Apache-2.0
// What of the device changes from moment to moment: memory, load, power, temperature, clocks.
#pragma once

#include <cstdint>

#include "executor/session.h"

namespace phos::executor {

// Answers phos_device_facts with a DeviceLive (phos/device_page.h), from a helper thread.
// CUDA_ERROR_INVALID_DEVICE for a device that is not this executor's.
void answer_device_live(Session& session, std::uint32_t ordinal, Reply& reply);

}  // namespace phos::executor
