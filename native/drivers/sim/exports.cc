// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/exports.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cudart-tables/tables.h"
#include "drivers/sim/device_facts.h"
#include "drivers/sim/handle_table.h"
#include "drivers/sim/runtime.h"
#include "drivers/sim/sim.h"
#include "gen/proc_table.h"

namespace phos::sim {
namespace {

DriverTable g_table;  // filled once by exported()
DriverTable g_plain;  // the same before exports were added

bool logs() noexcept {
  static const bool on = std::getenv("PHOS_LOG") != nullptr;
  return on;
}

void complain(const char* line) { std::fprintf(stderr, "phos sim: %s\n", line); }
void log_line(const char* line) {
  if (logs()) {
    complain(line);
  }
}

void report_unsupported(void* /*user*/, CallId id) {
  if (logs()) {
    std::fprintf(stderr, "phos sim: %s is not supported\n", call_name(id));
  }
}

CUresult get_proc_address(const char* name, void** function, int version, cuuint64_t flags,
                          CUdriverProcAddressQueryResult* status) {
  constexpr cuuint64_t kKnown = CU_GET_PROC_ADDRESS_LEGACY_STREAM |
                                CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
  if (name == nullptr || function == nullptr || (flags & ~kKnown) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const ProcLookup found = look_up_proc(name, version, flags);
  if (status != nullptr) {
    *status = found.status;
  }
  // SAFETY: POSIX lets a function's address travel as a pointer to an object.
  *function = found.entry == nullptr ? nullptr : reinterpret_cast<void*>(found.entry->address);
  return found.entry == nullptr ? CUDA_ERROR_NOT_FOUND : CUDA_SUCCESS;
}

// The handle of the primary context without making it active.
CUresult primary_handle(CUcontext* context, CUdevice ordinal) {
  Entry entry;
  Device* device = find_device(ordinal);
  if (device == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  if (device->primary_context == 0) {
    const auto made = runtime().create_context(*device, device->primary_flags, true);
    made->active = false;
    device->primary_context = made->handle;
  }
  *context = as_handle<CUcontext>(device->primary_context);
  return CUDA_SUCCESS;
}

bool identity(int ordinal, cudart_tables::DeviceIdentity* out) {
  CUuuid uuid;
  if (g_plain.cuDeviceGetUuid(&uuid, ordinal) != CUDA_SUCCESS) {
    return false;
  }
  std::memcpy(out->uuid, uuid.bytes, sizeof out->uuid);
  out->pci_domain = device_attribute(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, ordinal).value_or(0);
  out->pci_bus = device_attribute(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, ordinal).value_or(0);
  out->pci_device = device_attribute(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, ordinal).value_or(0);
  return true;
}

CUresult get_export_table(const void** table, const CUuuid* id) {
  return cudart_tables::find_table(id, table);
}

// What the CUDA runtime has stored with a context ends with it.
CUresult context_destroy(CUcontext context) {
  cudart_tables::drop_storage(context);
  return g_plain.cuCtxDestroy(context);
}

void drop_primary_storage(CUdevice device) {
  CUcontext context = nullptr;
  if (primary_handle(&context, device) == CUDA_SUCCESS) {
    cudart_tables::drop_storage(context);
  }
}

CUresult primary_release(CUdevice device) {
  const CUresult result = g_plain.cuDevicePrimaryCtxRelease(device);
  int active = 1;
  if (result == CUDA_SUCCESS &&
      g_plain.cuDevicePrimaryCtxGetState(device, nullptr, &active) == CUDA_SUCCESS &&
      active == 0) {
    drop_primary_storage(device);
  }
  return result;
}

CUresult primary_reset(CUdevice device) {
  drop_primary_storage(device);
  return g_plain.cuDevicePrimaryCtxReset(device);
}

bool fill() {
  if (!fill_driver_table(g_plain)) {
    // The setting that is wrong has been named on stderr. Every call answers that it has nothing.
    fill_unsupported(g_table);
    return true;
  }
  set_unsupported_reporter(report_unsupported, nullptr);
  cudart_tables::Host host{};
  host.current_context = g_plain.cuCtxGetCurrent;
  host.primary_context = primary_handle;
  host.driver_version = [] { return kDriverVersion; };
  host.device_count = [] { return static_cast<int>(runtime().devices.size()); };
  host.identity = identity;
  host.log = log_line;
  host.complain = complain;
  cudart_tables::set_host(host);
  g_table = g_plain;
  g_table.cuGetProcAddress = get_proc_address;
  g_table.cuGetExportTable = get_export_table;
  g_table.cuCtxDestroy = context_destroy;
  g_table.cuDevicePrimaryCtxRelease = primary_release;
  g_table.cuDevicePrimaryCtxReset = primary_reset;
  return true;
}

}  // namespace

const DriverTable& exported() noexcept {
  static const bool filled = fill();
  (void)filled;
  return g_table;
}

}  // namespace phos::sim
