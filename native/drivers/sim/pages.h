// SPDX-License-Identifier: Apache-2.0
// Memory of the system, as the device's is made of.
#pragma once

#include <cstddef>
#include <cstdint>

namespace phos::sim {

// Zeroed memory that costs nothing until it is touched; null when the system refuses. Where there
// is enough of it the system is asked for huge pages: touching memory for the first time is a
// fault for each page, and on a virtual machine one of 4 KiB took 5 to 20 us.
std::byte* map_pages(std::uint64_t bytes) noexcept;
// Takes back what map_pages() returned, with the same size; nobody translates to it any more.
void unmap_pages(std::byte* pages, std::uint64_t bytes) noexcept;

}  // namespace phos::sim
