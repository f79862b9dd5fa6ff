// SPDX-License-Identifier: Apache-2.0
// libsim.so: the simulated device as a libcuda.so.1 that programs link or load directly.
#pragma once

#include "gen/driver_table.h"

namespace phos::sim {

// The table that the exported symbols go to; also has cuGetProcAddress and cuGetExportTable, which
// only make sense for a library.
const DriverTable& exported() noexcept;

}  // namespace phos::sim
