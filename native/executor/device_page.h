// SPDX-License-Identifier: Apache-2.0
// Writes what everybody may know of the device (phos/device_page.h).
#pragma once

#include <string>

#include "gen/driver_table.h"

namespace phos::executor {

struct DeviceFacts;

// Writes device-ORDINAL into the runtime folder, whose folder `executors` holds the socket; nothing
// where there is no socket. A page that is there already is replaced at once. A folder that takes
// no file is told on stderr and leaves programs without NVML, nothing worse.
void write_device_page(const DriverTable& driver, CUdevice device, const DeviceFacts& facts,
                       const std::string& ring_socket_path);

}  // namespace phos::executor
