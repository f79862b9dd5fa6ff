// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "drivers/sim/calls.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/pool.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

constexpr std::size_t kPitchUnit = 512;

CUresult get_info(std::size_t* free, std::size_t* total) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Device& device = *entry.context().device;
  if (free != nullptr) {
    *free = runtime().memory->free_bytes(device);
  }
  if (total != nullptr) {
    *total = device.memory_bytes;
  }
  return CUDA_SUCCESS;
}

CUresult allocate(CUdeviceptr* out, std::size_t bytes, BlockKind kind) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || bytes == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Context& context = entry.context();
  Block* block = nullptr;
  const CUresult result =
      runtime().memory->allocate(*context.device, context.handle, bytes, kind, &block);
  if (result == CUDA_SUCCESS) {
    *out = block->base;
  }
  return result;
}

CUresult mem_alloc(CUdeviceptr* out, std::size_t bytes) {
  return allocate(out, bytes, BlockKind::device);
}

CUresult mem_alloc_managed(CUdeviceptr* out, std::size_t bytes, unsigned flags) {
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return allocate(out, bytes, BlockKind::managed);
}

CUresult mem_alloc_pitch(CUdeviceptr* out, std::size_t* pitch, std::size_t width,
                         std::size_t height, unsigned element_bytes) {
  if (pitch == nullptr || width == 0 || height == 0 ||
      (element_bytes != 4 && element_bytes != 8 && element_bytes != 16)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::size_t wide = (width + kPitchUnit - 1) / kPitchUnit * kPitchUnit;
  if (wide < width || height > ~std::size_t{0} / wide) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const CUresult result = mem_alloc(out, wide * height);
  if (result == CUDA_SUCCESS) {
    *pitch = wide;
  }
  return result;
}

CUresult mem_free(CUdeviceptr address) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (address == 0) {
    return CUDA_SUCCESS;
  }
  const Block* block = runtime().memory->find(address);
  if (block == nullptr || block->base != address) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  settle(entry);
  return free_allocation(address);
}

CUresult get_address_range(CUdeviceptr* base, std::size_t* bytes, CUdeviceptr address) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Block* block = runtime().memory->find(address);
  if (block == nullptr) {
    return CUDA_ERROR_NOT_FOUND;
  }
  if (base != nullptr) {
    *base = block->base;
  }
  if (bytes != nullptr) {
    *bytes = block->bytes;
  }
  return CUDA_SUCCESS;
}

CUresult mem_host_alloc(void** out, std::size_t bytes, unsigned flags) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  constexpr unsigned kKnown =
      CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
  if (out == nullptr || bytes == 0 || (flags & ~kKnown) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return runtime().memory->allocate_host(entry.context().handle, bytes, flags, out);
}

CUresult mem_alloc_host(void** out, std::size_t bytes) { return mem_host_alloc(out, bytes, 0); }

CUresult mem_free_host(void* address) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (address == nullptr) {
    return CUDA_SUCCESS;
  }
  settle(entry);
  return runtime().memory->free_host(address);
}

CUresult mem_host_register(void* address, std::size_t bytes, unsigned flags) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  constexpr unsigned kKnown = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP |
                              CU_MEMHOSTREGISTER_READ_ONLY;
  if (address == nullptr || (flags & ~(kKnown | CU_MEMHOSTREGISTER_IOMEMORY)) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if ((flags & CU_MEMHOSTREGISTER_IOMEMORY) != 0) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  return runtime().memory->register_host(entry.context().handle, address, bytes, flags);
}

CUresult mem_host_unregister(void* address) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (address == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  settle(entry);
  return runtime().memory->unregister_host(address);
}

CUresult mem_host_get_device_pointer(CUdeviceptr* out, void* address, unsigned flags) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Block* block = runtime().memory->find(reinterpret_cast<std::uint64_t>(address));
  if (block == nullptr || !block->is_host()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = reinterpret_cast<std::uint64_t>(address);
  return CUDA_SUCCESS;
}

CUresult mem_host_get_flags(unsigned* flags, void* address) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Block* block = runtime().memory->find(reinterpret_cast<std::uint64_t>(address));
  if (flags == nullptr || block == nullptr || !block->is_host()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // All pinned memory is mapped, as on every device with unified addressing.
  *flags = block->flags | CU_MEMHOSTALLOC_DEVICEMAP;
  return CUDA_SUCCESS;
}

// Managed memory is one memory for both sides here, so advice and prefetching change nothing; they
// are checked and accepted.
CUresult check_managed(Entry& entry, CUdeviceptr address, std::size_t bytes) {
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Block* block = runtime().memory->find(address);
  if (block == nullptr || block->kind != BlockKind::managed || bytes == 0 ||
      bytes > block->base + block->bytes - address) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult mem_advise(CUdeviceptr address, std::size_t bytes, CUmem_advise /*advice*/,
                    CUmemLocation /*location*/) {
  Entry entry;
  return check_managed(entry, address, bytes);
}

CUresult mem_prefetch(CUdeviceptr address, std::size_t bytes, CUmemLocation /*location*/,
                      unsigned flags, CUstream handle) {
  Entry entry;
  if (const CUresult result = check_managed(entry, address, bytes); result != CUDA_SUCCESS) {
    return result;
  }
  if (flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return find_stream(entry, handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult stream_attach(CUstream handle, CUdeviceptr address, std::size_t bytes, unsigned flags) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Block* block = runtime().memory->find(address);
  if (block == nullptr || block->kind != BlockKind::managed || flags == 0 ||
      flags > CU_MEM_ATTACH_SINGLE || (bytes != 0 && bytes != block->bytes)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return find_stream(entry, handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

}  // namespace

void fill_memory_calls(DriverTable& table) {
  table.cuMemGetInfo = get_info;
  table.cuMemAlloc = mem_alloc;
  table.cuMemAllocManaged = mem_alloc_managed;
  table.cuMemAllocPitch = mem_alloc_pitch;
  table.cuMemFree = mem_free;
  table.cuMemGetAddressRange = get_address_range;
  table.cuMemHostAlloc = mem_host_alloc;
  table.cuMemAllocHost = mem_alloc_host;
  table.cuMemFreeHost = mem_free_host;
  table.cuMemHostRegister = mem_host_register;
  table.cuMemHostUnregister = mem_host_unregister;
  table.cuMemHostGetDevicePointer = mem_host_get_device_pointer;
  table.cuMemHostGetFlags = mem_host_get_flags;
  table.cuMemAdvise = mem_advise;
  table.cuMemPrefetchAsync = mem_prefetch;
  table.cuStreamAttachMemAsync = stream_attach;
}

}  // namespace phos::sim
