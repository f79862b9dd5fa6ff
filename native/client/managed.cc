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

// Advice and prefetches leave arena memory where it is, and so no trace.
CUresult cuMemRangeGetAttribute(void* data, size_t dataSize, CUmem_range_attribute attribute,
                                CUdeviceptr devPtr, size_t count) {
  if (const CUresult status = check_managed(devPtr, count); status != CUDA_SUCCESS) return status;
  if (data == nullptr || dataSize == 0 || dataSize % sizeof(int) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto* const values = static_cast<int*>(data);
  switch (attribute) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
      values[0] = 0;
      return dataSize == sizeof(int) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
      values[0] = CU_DEVICE_INVALID;
      return dataSize == sizeof(int) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY:
      for (size_t i = 0; i < dataSize / sizeof(int); ++i) values[i] = CU_DEVICE_INVALID;
      return CUDA_SUCCESS;
    default:
      return report_unsupported(CallId::cuMemRangeGetAttribute);
  }
}

// Arena memory can be used from either side at any time.
CUresult cuStreamAttachMemAsync(CUstream hStream, CUdeviceptr dptr, size_t length,
                                unsigned int flags) {
  std::uint64_t stream = 0;
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  CUresult status = handle_arg(HandleType::stream, bits_of(hStream), true, &stream);
  if (status == CUDA_SUCCESS) status = check_submit(stream);
  if (status != CUDA_SUCCESS) return status;
  MemoryRange range;
  if (!find_range(dptr, &range) || range.kind != MemoryKind::managed || range.base != dptr ||
      (length != 0 && length != range.bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return flags == CU_MEM_ATTACH_GLOBAL || flags == CU_MEM_ATTACH_HOST ||
                 flags == CU_MEM_ATTACH_SINGLE
             ? CUDA_SUCCESS
             : CUDA_ERROR_INVALID_VALUE;
}

// A __managed__ variable lies where the driver put it, which the program cannot reach. The runtime
// does not look at the error and the program then follows a null pointer, so it is said aloud.
CUresult cuLibraryGetManaged(CUdeviceptr*, size_t*, CUlibrary, const char* name) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  complain("the program has a __managed__ variable (%s), which phos does not support; use "
           "cudaMallocManaged instead",
           name == nullptr ? "?" : name);
  return report_unsupported(CallId::cuLibraryGetManaged);
}

}  // namespace impl
}  // namespace phos::client
