// SPDX-License-Identifier: Apache-2.0
// Allocations of device and host memory.
#include <string.h>

#include "client/call.h"
#include "client/capture.h"
#include "client/host_memory.h"
#include "client/memory_file.h"
#include "client/memory_ranges.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

constexpr std::uint64_t kPitchAlign = 512;
constexpr unsigned kHostAllocFlags =
    CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;

CUresult require_alloc() noexcept {
  const CUresult status = require_context();
  return status != CUDA_SUCCESS ? status : check_unsafe();
}

MemoryRange range_of(std::uint64_t base, std::uint64_t bytes, MemoryKind kind,
                     unsigned flags = 0) noexcept {
  MemoryRange range;
  range.base = base;
  range.bytes = bytes;
  range.kind = kind;
  range.device = current_device();
  range.flags = flags;
  range.context = current_context();
  return range;
}

CUresult allocate_device(std::uint64_t bytes, CUdeviceptr* address) noexcept {
  codec::Req_cuMemAlloc request{};
  request.bytesize = bytes;
  codec::Rep_cuMemAlloc reply{};
  if (const CUresult status = ask(request, &reply); status != CUDA_SUCCESS) return status;
  if (!add_range(range_of(reply.dptr, bytes, MemoryKind::device))) return CUDA_ERROR_UNKNOWN;
  *address = reply.dptr;
  return CUDA_SUCCESS;
}

CUresult allocate_shared(std::uint64_t bytes, MemoryKind kind, unsigned flags,
                         std::uint64_t* address) noexcept {
  const CUresult status = allocate_host(bytes, address);
  if (status != CUDA_SUCCESS) return status;
  return add_range(range_of(*address, bytes, kind, flags)) ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CUresult find_host(const void* pointer, MemoryRange* range) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  const bool found = find_range(bits_of(pointer), range) && range->is_host();
  return found ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

namespace impl {

CUresult cuMemAlloc(CUdeviceptr* dptr, size_t bytesize) {
  if (const CUresult status = require_alloc(); status != CUDA_SUCCESS) return status;
  if (dptr == nullptr || bytesize == 0) return CUDA_ERROR_INVALID_VALUE;
  return allocate_device(bytesize, dptr);
}

CUresult cuMemAllocPitch(CUdeviceptr* dptr, size_t* pPitch, size_t WidthInBytes, size_t Height,
                         unsigned int ElementSizeBytes) {
  if (const CUresult status = require_alloc(); status != CUDA_SUCCESS) return status;
  const bool element = ElementSizeBytes == 4 || ElementSizeBytes == 8 || ElementSizeBytes == 16;
  if (dptr == nullptr || pPitch == nullptr || WidthInBytes == 0 || Height == 0 || !element) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::uint64_t pitch = (WidthInBytes + kPitchAlign - 1) & ~(kPitchAlign - 1);
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(pitch, Height, &bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  const CUresult status = allocate_device(bytes, dptr);
  if (status == CUDA_SUCCESS) *pPitch = pitch;
  return status;
}

CUresult cuMemFree(CUdeviceptr dptr) {
  if (const CUresult status = require_alloc(); status != CUDA_SUCCESS) return status;
  if (dptr == 0) return CUDA_SUCCESS;
  MemoryRange range;
  const auto can_free = [](const MemoryRange& it) {
    return it.kind == MemoryKind::device || it.kind == MemoryKind::managed ||
           it.kind == MemoryKind::pool;
  };
  if (!take_range(dptr, can_free, &range)) return CUDA_ERROR_INVALID_VALUE;
  note_pool_free(range);
  if (range.kind == MemoryKind::managed) return free_host(dptr);
  codec::Req_cuMemFree request{};
  request.dptr = dptr;
  return tell(request);
}

CUresult cuMemGetAddressRange(CUdeviceptr* pbase, size_t* psize, CUdeviceptr dptr) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  MemoryRange range;
  if (!find_range(dptr, &range)) return CUDA_ERROR_NOT_FOUND;
  if (pbase != nullptr) *pbase = range.base;
  if (psize != nullptr) *psize = range.bytes;
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void** pp, size_t bytesize, unsigned int Flags) {
  if (const CUresult status = require_alloc(); status != CUDA_SUCCESS) return status;
  if (pp == nullptr || bytesize == 0 || (Flags & ~kHostAllocFlags) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::uint64_t address = 0;
  const CUresult status = allocate_shared(bytesize, MemoryKind::host, Flags, &address);
  if (status == CUDA_SUCCESS) *pp = pointer_of<void*>(address);
  return status;
}

CUresult cuMemAllocHost(void** pp, size_t bytesize) {
  return impl::cuMemHostAlloc(pp, bytesize, 0);
}

CUresult cuMemFreeHost(void* p) {
  if (const CUresult status = require_alloc(); status != CUDA_SUCCESS) return status;
  if (p == nullptr) return CUDA_SUCCESS;
  MemoryRange range;
  const auto is_host = [](const MemoryRange& it) { return it.kind == MemoryKind::host; };
  if (!take_range(bits_of(p), is_host, &range)) return CUDA_ERROR_INVALID_VALUE;
  return free_host(range.base);
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr* pdptr, void* p, unsigned int Flags) {
  MemoryRange range;
  if (pdptr == nullptr || Flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult status = find_host(p, &range); status != CUDA_SUCCESS) return status;
  // The program's own pages are not the device's; cuMemHostRegister says so in its turn.
  if (range.kind == MemoryKind::registered) return CUDA_ERROR_NOT_SUPPORTED;
  *pdptr = bits_of(p);
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned int* pFlags, void* p) {
  MemoryRange range;
  if (pFlags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult status = find_host(p, &range); status != CUDA_SUCCESS) return status;
  *pFlags = range.flags | CU_MEMHOSTALLOC_DEVICEMAP;
  return CUDA_SUCCESS;
}

// Managed memory is arena memory: one address for program and device.
CUresult cuMemAllocManaged(CUdeviceptr* dptr, size_t bytesize, unsigned int flags) {
  if (const CUresult status = require_alloc(); status != CUDA_SUCCESS) return status;
  const bool known = flags == CU_MEM_ATTACH_GLOBAL || flags == CU_MEM_ATTACH_HOST;
  if (dptr == nullptr || bytesize == 0 || !known) return CUDA_ERROR_INVALID_VALUE;
  std::uint64_t address = 0;
  const CUresult status = allocate_shared(bytesize, MemoryKind::managed, flags, &address);
  if (status == CUDA_SUCCESS) *dptr = address;
  return status;
}

// The pages stay where they are and copies are staged, so nothing is pinned; what registering gives
// the program is the promise that copies work, and that it is told of a second registration.
CUresult cuMemHostRegister(void* p, size_t bytesize, unsigned int Flags) {
  if (const CUresult status = require_alloc(); status != CUDA_SUCCESS) return status;
  constexpr unsigned kKnown = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP |
                              CU_MEMHOSTREGISTER_READ_ONLY;
  if (p == nullptr || bytesize == 0) return CUDA_ERROR_INVALID_VALUE;
  if ((Flags & ~kKnown) != 0) return CUDA_ERROR_NOT_SUPPORTED;
  MemoryRange range;
  if (find_range(bits_of(p), &range)) {
    return range.is_host() ? CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED : CUDA_ERROR_INVALID_VALUE;
  }
  const bool added = add_range(range_of(bits_of(p), bytesize, MemoryKind::registered, Flags));
  return added ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
}

CUresult cuMemHostUnregister(void* p) {
  if (const CUresult status = require_alloc(); status != CUDA_SUCCESS) return status;
  MemoryRange range;
  const auto registered = [](const MemoryRange& it) { return it.kind == MemoryKind::registered; };
  if (p == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return take_range(bits_of(p), registered, &range) ? CUDA_SUCCESS
                                                    : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

}  // namespace impl
}  // namespace phos::client
