// SPDX-License-Identifier: Apache-2.0
// What everybody may know of a device without asking for it: an executor writes it into the
// runtime folder, as device-ORDINAL, when it starts. The stand-in of the management library answers
// from it, so that counting devices neither attaches a process nor keeps it from forking.
#pragma once

#include <cstdint>

namespace phos {

inline constexpr char kDevicePageName[] = "device-";
inline constexpr std::uint64_t kDevicePageMagic = 0x3145474150534f50;  // "POSPAGE1"
inline constexpr std::uint32_t kMaxDevicePages = 64;

struct DevicePage {
  std::uint64_t magic;
  std::uint32_t bytes;  // of this struct; a reader refuses another size
  std::uint32_t ordinal;
  char driver[16];          // "cuda" or "sim"
  char driver_version[80];  // as the vendor's tools print it, "580.95.05"
  char name[96];
  std::uint8_t uuid[16];
  std::uint32_t pci_domain;
  std::uint32_t pci_bus;
  std::uint32_t pci_device;
  std::int32_t cuda_version;  // 13000
  std::int32_t compute_major;
  std::int32_t compute_minor;
  std::uint64_t total_bytes;
};

// Asked with phos_device_facts: this ordinal, and the device's own where the number of attributes
// is. The answer's blob is a DeviceLive.
inline constexpr std::int32_t kLiveFacts = -1;

// What changes, as the executor's driver or management library tells it. INT32_MIN: not known.
struct DeviceLive {
  std::uint64_t total_bytes;
  std::uint64_t free_bytes;
  std::uint64_t client_bytes;  // of the program that asks
  std::int32_t gpu_percent;
  std::int32_t memory_percent;
  std::int32_t power_mw;
  std::int32_t power_limit_mw;
  std::int32_t temperature_c;
  std::int32_t clock_mhz[4];  // graphics, SM, memory, video
};

}  // namespace phos
