// SPDX-License-Identifier: Apache-2.0
// The stand-in's state: the pages it read when it was initialised, and how it asks what changes.
#pragma once

#include "nvml/nvml_abi.h"
#include "phos/device_page.h"

namespace phos::nvml {

// Reads the pages. driver_not_loaded where there is none: phosd does not run.
Return open_state() noexcept;
// As many closes as opens.
Return close_state() noexcept;
// How many devices; 0 when it is not initialised.
std::uint32_t device_count() noexcept;
bool is_open() noexcept;

// The page of a device. uninitialized, or invalid_argument for what is not a device of ours.
Return page_of(Device device, const DevicePage** page) noexcept;
const DevicePage& page_at(std::uint32_t index) noexcept;
inline Device device_at(std::uint32_t index) noexcept {
  return reinterpret_cast<Device>(static_cast<std::uintptr_t>(index) + 1);
}

// What changes: the client library asks the program's executor. It attaches the program if it has
// not used CUDA yet. not_supported for a device that is not the program's; unknown on failure.
Return live_of(Device device, DeviceLive* live) noexcept;

// Tells once for each function, under PHOS_LOG, that it is not answered; gives not_supported.
int refuse(const char* function, bool& told) noexcept;

}  // namespace phos::nvml
