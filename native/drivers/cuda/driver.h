// SPDX-License-Identifier: Apache-2.0
// The driver table of the real libcuda.
#pragma once

#include <string>

#include "gen/driver_table.h"

namespace phos::cuda {

struct LoadOutcome {
  bool ok;
  std::string message;  // what was loaded, or why nothing was and what to do
};

// Loads the real driver and fills the table with its functions; slots that this driver version
// lacks answer CUDA_ERROR_NOT_SUPPORTED. The library is PHOS_CUDA_LIBRARY if set, else what the
// loader finds as libcuda.so.1. A library that is phos's own stand-in is refused, since an executor
// would then call itself. Never unloaded. Not thread-safe; once a process.
LoadOutcome fill_driver_table(DriverTable& table);

}  // namespace phos::cuda
