// SPDX-License-Identifier: Apache-2.0
// The CUDA driver API on the CPU.
#pragma once

#include "gen/driver_table.h"

namespace phos::sim {

// Fills the table with the simulated device; what sim does not have answers
// CUDA_ERROR_NOT_SUPPORTED. May be called any number of times: every table leads to the same
// devices. Settings (environment, read once): PHOS_SIM_DEVICES, PHOS_SIM_MEMORY (bytes, with
// suffix K, M or G), PHOS_SIM_SEED (a number: the seeded scheduler). Returns false and says why on
// stderr when a setting is malformed.
bool fill_driver_table(DriverTable& table);

// While one of these lives on a thread, stream 0 means the thread's own default stream there, as
// the symbols that end in _ptds and _ptsz ask.
class PerThreadDefaultStream {
 public:
  PerThreadDefaultStream() noexcept;
  ~PerThreadDefaultStream();
  PerThreadDefaultStream(const PerThreadDefaultStream&) = delete;
  PerThreadDefaultStream& operator=(const PerThreadDefaultStream&) = delete;

 private:
  bool before_;
};

}  // namespace phos::sim
