// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/calls.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

CUresult address_reserve(CUdeviceptr* out, std::size_t bytes, std::size_t alignment,
                         CUdeviceptr wish, unsigned long long flags) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::uint64_t base = 0;
  const CUresult result = runtime().memory->reserve(bytes, alignment, wish, &base);
  if (result == CUDA_SUCCESS) {
    *out = base;
  }
  return result;
}

CUresult address_free(CUdeviceptr base, std::size_t bytes) {
  Entry entry;
  const CUresult ready = entry.initialised();
  return ready != CUDA_SUCCESS ? ready : runtime().memory->unreserve(base, bytes);
}

// Pinned memory on one of the devices is all there is.
CUresult check_properties(const CUmemAllocationProp* properties) {
  if (properties == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (properties->type != CU_MEM_ALLOCATION_TYPE_PINNED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  return find_device(properties->location.id) == nullptr ? CUDA_ERROR_INVALID_DEVICE
                                                         : CUDA_SUCCESS;
}

CUresult create(CUmemGenericAllocationHandle* out, std::size_t bytes,
                const CUmemAllocationProp* properties, unsigned long long flags) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (const CUresult result = check_properties(properties); result != CUDA_SUCCESS) {
    return result;
  }
  if (properties->requestedHandleTypes != CU_MEM_HANDLE_TYPE_NONE) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  std::shared_ptr<Physical> physical;
  const CUresult result = runtime().memory->create_physical(
      *find_device(properties->location.id), bytes, *properties, &physical);
  if (result == CUDA_SUCCESS) {
    physical->handle = runtime().physicals.add(physical);
    *out = physical->handle;
  }
  return result;
}

CUresult release(CUmemGenericAllocationHandle handle) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Physical* physical = runtime().physicals.find(handle);
  if (physical == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (--physical->handle_references == 0) {
    physical->handle = 0;
    runtime().physicals.remove(handle);
  }
  return CUDA_SUCCESS;
}

CUresult map(CUdeviceptr base, std::size_t bytes, std::size_t offset,
             CUmemGenericAllocationHandle handle, unsigned long long flags) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const std::shared_ptr<Physical> physical = runtime().physicals.share(handle);
  if (!physical || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return runtime().memory->map(base, bytes, offset, physical);
}

// Does not wait for the device: a kernel that still uses the range faults, as on hardware.
CUresult unmap(CUdeviceptr base, std::size_t bytes) {
  Entry entry;
  const CUresult ready = entry.initialised();
  return ready != CUDA_SUCCESS ? ready : runtime().memory->unmap(base, bytes);
}

CUresult set_access(CUdeviceptr base, std::size_t bytes, const CUmemAccessDesc* list,
                    std::size_t count) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (list == nullptr || count == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // All devices run on one address space here, so the last word counts for all of them.
  CUmemAccess_flags flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
  for (std::size_t i = 0; i < count; ++i) {
    if (list[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE) {
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    if (find_device(list[i].location.id) == nullptr) {
      return CUDA_ERROR_INVALID_DEVICE;
    }
    flags = list[i].flags;
  }
  if (flags != CU_MEM_ACCESS_FLAGS_PROT_NONE && flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
      flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return runtime().memory->set_access(base, bytes, flags != CU_MEM_ACCESS_FLAGS_PROT_NONE,
                                      flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
}

CUresult get_access(unsigned long long* flags, const CUmemLocation* location,
                    CUdeviceptr address) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Block* block = runtime().memory->find(address);
  if (flags == nullptr || location == nullptr || block == nullptr ||
      block->kind != BlockKind::mapping) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
  if (block->accessible) {
    *flags = static_cast<unsigned long long>(block->read_only ? CU_MEM_ACCESS_FLAGS_PROT_READ
                                                              : CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  }
  return CUDA_SUCCESS;
}

CUresult get_granularity(std::size_t* granularity, const CUmemAllocationProp* properties,
                         CUmemAllocationGranularity_flags /*option*/) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (granularity == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const CUresult result = check_properties(properties);
  if (result == CUDA_SUCCESS) {
    *granularity = kGranularity;
  }
  return result;
}

CUresult get_properties(CUmemAllocationProp* properties, CUmemGenericAllocationHandle handle) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Physical* physical = runtime().physicals.find(handle);
  if (properties == nullptr || physical == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *properties = physical->properties;
  return CUDA_SUCCESS;
}

CUresult retain_handle(CUmemGenericAllocationHandle* out, void* address) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const std::shared_ptr<Physical> physical =
      runtime().memory->physical_of(reinterpret_cast<std::uint64_t>(address));
  if (out == nullptr || !physical) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (physical->handle == 0) {
    // All handles were released while it stayed mapped; it gets a new one.
    physical->handle = runtime().physicals.add(physical);
    physical->handle_references = 0;
  }
  ++physical->handle_references;
  *out = physical->handle;
  return CUDA_SUCCESS;
}

}  // namespace

void fill_vmm_calls(DriverTable& table) {
  table.cuMemAddressReserve = address_reserve;
  table.cuMemAddressFree = address_free;
  table.cuMemCreate = create;
  table.cuMemRelease = release;
  table.cuMemMap = map;
  table.cuMemUnmap = unmap;
  table.cuMemSetAccess = set_access;
  table.cuMemGetAccess = get_access;
  table.cuMemGetAllocationGranularity = get_granularity;
  table.cuMemGetAllocationPropertiesFromHandle = get_properties;
  table.cuMemRetainAllocationHandle = retain_handle;
}

}  // namespace phos::sim
