// SPDX-License-Identifier: Apache-2.0
// The private tables that the CUDA runtime and the CUDA libraries ask a driver for, by UUID,
// through cuGetExportTable. Which tables there are, how long they are and what their entries do
// are facts published by the ZLUDA project (dark_api) and by the Lupine project, and what was
// observed of cudart 13.0 and cuBLASLt calling a stand-in; see NOTICE. Nothing here was taken from
// a driver.
#pragma once

#include <cstdint>

#include "phos/cuda_abi.h"

namespace phos::cudart_tables {

struct DeviceIdentity {
  std::uint8_t uuid[16];
  std::int32_t pci_domain;
  std::int32_t pci_bus;
  std::int32_t pci_device;
};

// What the driver around the tables provides. Every function may be called from any thread.
struct Host {
  CUresult (*current_context)(CUcontext* context);
  // The primary context's handle, without activating it.
  CUresult (*primary_context)(CUcontext* context, CUdevice device);
  int (*driver_version)();
  int (*device_count)();
  bool (*identity)(int ordinal, DeviceIdentity* identity);
  // One line: what was asked for and is not known. May drop it.
  void (*log)(const char* line);
  // One line that the user must see: why the runtime will refuse to work.
  void (*complain)(const char* line);
};

// Called before the first find_table(); the last one counts.
void set_host(const Host& host) noexcept;

// cuGetExportTable. Tables never move and live for ever. CUDA_ERROR_INVALID_VALUE, with *table
// null, for a UUID that is not known.
CUresult find_table(const CUuuid* id, const void** table) noexcept;

// Ends what the runtime has stored with a context and calls its destructors. For cuCtxDestroy, the
// reset and the last release of a primary context.
void drop_storage(CUcontext context) noexcept;

}  // namespace phos::cudart_tables
