// SPDX-License-Identifier: Apache-2.0
// Fixed addresses. Every client sees the same windows, which is what makes restore land on the
// same pointers. The client reserves them PROT_NONE before anything else.
#pragma once

#include <cstdint>

namespace phos {

// Device memory: what cuMemAlloc gives lies here (VMM calls in the executor at the same address).
// Above 2^46, since V8 places its heap at random addresses below it and the executor is a Node
// process; below 0x550000000000, where position-independent programs are loaded (docs/adr/0004).
inline constexpr std::uint64_t kDeviceWindowBase = 0x500000000000;
inline constexpr std::uint64_t kDeviceWindowBytes = 0x8000000000;  // 512 GiB
// Host arenas: cuMemHostAlloc and staging; memfds of the client, mapped at the same address in the
// executor and registered with the driver there.
inline constexpr std::uint64_t kArenaWindowBase = 0x6e0000000000;
inline constexpr std::uint64_t kArenaWindowBytes = 0x4000000000;  // 256 GiB
// ThreadSanitizer leaves these ranges to the application instead.
inline constexpr std::uint64_t kDeviceWindowBaseTsan = 0x2000000000;
inline constexpr std::uint64_t kArenaWindowBaseTsan = 0x6000000000;

inline constexpr std::uint64_t kChunkBytes = 2U << 20;  // unit of saving and of VMM mapping
inline constexpr std::uint64_t kSubAllocAlign = 512;    // packed small allocations

}  // namespace phos
