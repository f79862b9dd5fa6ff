// SPDX-License-Identifier: Apache-2.0
// How programs find functions: cuGetProcAddress and cuGetExportTable.
#include <string.h>

#include "client/call.h"
#include "client/contexts.h"
#include "client/log.h"
#include "cudart-tables/tables.h"
#include "gen/client_impl.h"
#include "gen/proc_table.h"

namespace phos::client {

namespace {

constexpr cuuint64_t kKnownFlags = CU_GET_PROC_ADDRESS_LEGACY_STREAM |
                                   CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;

bool identity(int ordinal, cudart_tables::DeviceIdentity* identity) noexcept {
  const DeviceFacts* facts = device_facts(ordinal);
  if (facts == nullptr) return false;
  memcpy(identity->uuid, facts->uuid.bytes, sizeof(identity->uuid));
  identity->pci_domain = device_attribute(ordinal, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
  identity->pci_bus = device_attribute(ordinal, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
  identity->pci_device = device_attribute(ordinal, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
  return true;
}

CUresult give_primary(CUcontext* context, CUdevice device) noexcept {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  const std::uint64_t handle = primary_context(device);
  *context = pointer_of<CUcontext>(handle);
  return handle == 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult give_current(CUcontext* context) noexcept {
  *context = pointer_of<CUcontext>(current_context());
  return CUDA_SUCCESS;
}

void set_up_tables() noexcept {
  cudart_tables::Host host{};
  host.current_context = give_current;
  host.primary_context = give_primary;
  host.driver_version = [] { return g_process.driver_version; };
  host.device_count = [] { return g_process.device_count; };
  host.identity = identity;
  host.log = [](const char* line) { log("%s", line); };
  host.complain = [](const char* line) { complain("%s", line); };
  cudart_tables::set_host(host);
}

}  // namespace

namespace impl {

CUresult cuGetProcAddress(const char* symbol, void** pfn, int cudaVersion, cuuint64_t flags,
                          CUdriverProcAddressQueryResult* symbolStatus) {
  if (symbol == nullptr || pfn == nullptr || (flags & ~kKnownFlags) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const ProcLookup found = look_up_proc(symbol, cudaVersion, flags);
  if (symbolStatus != nullptr) *symbolStatus = found.status;
  if (found.entry == nullptr) {
    *pfn = nullptr;
    return CUDA_ERROR_NOT_FOUND;
  }
  // SAFETY: POSIX lets a function's address travel as a pointer to an object.
  *pfn = reinterpret_cast<void*>(found.entry->address);
  return CUDA_SUCCESS;
}

CUresult cuGetExportTable(const void** ppExportTable, const CUuuid* pExportTableId) {
  set_up_tables();
  return cudart_tables::find_table(pExportTableId, ppExportTable);
}

}  // namespace impl
}  // namespace phos::client
