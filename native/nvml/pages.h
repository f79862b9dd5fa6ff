// SPDX-License-Identifier: Apache-2.0
// The devices that the management library shows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "phos/device_page.h"

namespace phos::nvml {

// Reads the pages of a runtime folder, device-0 onwards. Returns how many there are, at most
// `capacity`; a page that is damaged ends the list.
std::uint32_t read_pages(const char* folder, DevicePage* pages, std::uint32_t capacity) noexcept;

// "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"; at least 41 bytes.
void print_uuid(const DevicePage& page, char* text, std::size_t capacity) noexcept;

// True where `text` names the device's place on the PCI bus: domain:bus:device[.function], the
// domain of any width.
bool is_at(const DevicePage& page, const char* text) noexcept;

}  // namespace phos::nvml
