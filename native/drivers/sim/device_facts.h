// SPDX-License-Identifier: Apache-2.0
// What the simulated device says about itself: a small device of compute capability 8.6. The
// limits are those that NVIDIA's programming guide tables give for 8.6.
#pragma once

#include <cstdint>
#include <optional>

namespace phos::sim {

inline constexpr int kDriverVersion = 13000;
inline constexpr int kMajor = 8;
inline constexpr int kMinor = 6;
inline constexpr int kMultiprocessors = 16;
inline constexpr int kWarp = 32;
inline constexpr int kMaxThreadsPerBlock = 1024;
inline constexpr int kMaxBlockZ = 64;
inline constexpr int kMaxGridX = 2147483647;
inline constexpr int kMaxGridYZ = 65535;
inline constexpr int kMaxThreadsPerMultiprocessor = 1536;
inline constexpr int kMaxBlocksPerMultiprocessor = 16;
inline constexpr int kRegistersPerMultiprocessor = 65536;
inline constexpr int kRegisterUnit = 256;  // registers are given to warps in units of this
inline constexpr int kWarpUnit = 4;        // and to blocks for a multiple of this many warps
inline constexpr int kSharedPerMultiprocessor = 102400;
inline constexpr int kSharedPerBlock = 49152;
inline constexpr int kSharedPerBlockOptIn = 101376;
inline constexpr int kSharedReserved = 1024;  // of each block, for the system
inline constexpr int kSharedUnit = 128;
inline constexpr int kConstantBytes = 65536;
// Two-dimensional textures over memory that no array holds.
inline constexpr int kMaxLinearWidth = 131072;
inline constexpr int kMaxLinearHeight = 65000;
inline constexpr int kMaxLinearPitch = 2097120;
inline constexpr int kGreatestPriority = -5;
inline constexpr int kPciBusBase = 0x21;

// A device attribute by its CUdevice_attribute number; nothing if there is no such attribute.
std::optional<int> device_attribute(int attribute, int ordinal) noexcept;

}  // namespace phos::sim
