// SPDX-License-Identifier: Apache-2.0
// Managed memory is arena memory: it stays in one place, so advice and prefetches have nothing to
// do.
#include "client/call.h"
#include "client/capture.h"
#include "client/log.h"
#include "client/memory_ranges.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

CUresult check_managed(CUdeviceptr address, size_t bytes) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  MemoryRange range;
  if (bytes == 0 || !range_holds(address, bytes, &range) || range.kind != MemoryKind::managed) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult check_location(const CUmemLocation& location) noexcept {
  if (location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_SUCCESS;
  return device_facts(location.id) == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

}  // namespace

namespace impl {

CUresult cuMemPrefetchAsync(CUdeviceptr devPtr, size_t count, CUmemLocation location,
                            unsigned int flags, CUstream hStream) {
  if (const CUresult status = check_managed(devPtr, count); status != CUDA_SUCCESS) return status;
  std::uint64_t stream = 0;
  CUresult status = handle_arg(HandleType::stream, bits_of(hStream), true, &stream);
  if (status == CUDA_SUCCESS) status = check_submit(stream);
  if (status != CUDA_SUCCESS) return status;
  return flags != 0 ? CUDA_ERROR_INVALID_VALUE : check_location(location);
}

CUresult cuMemAdvise(CUdeviceptr devPtr, size_t count, CUmem_advise advice,
                     CUmemLocation location) {
  if (const CUresult status = check_managed(devPtr, count); status != CUDA_SUCCESS) return status;
  if (advice < CU_MEM_ADVISE_SET_READ_MOSTLY || advice > CU_MEM_ADVISE_UNSET_ACCESSED_BY) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return check_location(location);
}

// A __managed__ variable lies where the driver put it, which the program cannot reach. The runtime
// does not look at the error and the program then follows a null pointer, so it is said aloud.
CUresult cuLibraryGetManaged(CUdeviceptr*, size_t*, CUlibrary, const char* name) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  complain("the program has a __managed__ variable (%s), which phos does not support; use "
           "cudaMallocManaged instead",
           name == nullptr ? "?" : name);
  return report_unsupported(CallId::cuLibraryGetManaged);
}

}  // namespace impl
}  // namespace phos::client
