// SPDX-License-Identifier: Apache-2.0
// Our own declarations of what is answered of NVML's interface, after NVIDIA's public NVML API
// Reference. Struct versions are written as that reference defines them: size | version << 24.
#pragma once

#include <cstdint>

namespace phos::nvml {

enum class Return : int {
  success = 0,
  uninitialized = 1,
  invalid_argument = 2,
  not_supported = 3,
  not_found = 6,
  insufficient_size = 7,
  driver_not_loaded = 9,
  function_not_found = 13,
  version_mismatch = 25,
  unknown = 999,
};

// Devices are passed about as opaque pointers; ours are ordinals plus one and never dereferenced.
using Device = struct OpaqueDevice*;

struct Memory {
  std::uint64_t total;
  std::uint64_t free;
  std::uint64_t used;
};
struct MemoryV2 {
  std::uint32_t version;
  std::uint64_t total;
  std::uint64_t reserved;
  std::uint64_t free;
  std::uint64_t used;
};
inline constexpr std::uint32_t kMemoryV2 = sizeof(MemoryV2) | 2U << 24;

struct Utilization {
  std::uint32_t gpu;
  std::uint32_t memory;
};

struct PciInfo {
  char legacy_id[16];
  std::uint32_t domain;
  std::uint32_t bus;
  std::uint32_t device;
  std::uint32_t device_id;
  std::uint32_t subsystem_id;
  char id[32];
};
static_assert(sizeof(PciInfo) == 68);
// Versions 1 and 2 of the call end otherwise.
struct PciInfoOld {
  char id[16];
  std::uint32_t domain;
  std::uint32_t bus;
  std::uint32_t device;
  std::uint32_t device_id;
  std::uint32_t subsystem_id;
  std::uint32_t reserved[4];
};
static_assert(sizeof(PciInfoOld) == 52);

struct ProcessInfoV1 {
  std::uint32_t pid;
  std::uint64_t used_bytes;
};
struct ProcessInfoV2 {
  std::uint32_t pid;
  std::uint64_t used_bytes;
  std::uint32_t gpu_instance;
  std::uint32_t compute_instance;
};
inline constexpr std::uint32_t kNoInstance = 0xFFFFFFFF;

inline constexpr int kSensorGpu = 0;
inline constexpr std::uint32_t kClockTypes = 4;
inline constexpr int kPeerNotSupported = 5;

}  // namespace phos::nvml
