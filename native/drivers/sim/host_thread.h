// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

namespace phos::sim {

// Calls functions of the program one after the other on a thread of their own, so that one which
// takes long or waits for another stream never holds up the device.
void run_on_host_thread(std::function<void()> function);

}  // namespace phos::sim
