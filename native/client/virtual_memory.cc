// SPDX-License-Identifier: Apache-2.0
// Virtual memory management. Reservations, physical memory and what is mapped where are checked
// against the tables here; the executor does the rest. Physical memory that nobody has a handle of
// any more lives on while it is mapped somewhere, so both are counted here.
#include <algorithm>
#include <map>
#include <new>
#include <vector>

#include "client/call.h"
#include "client/memory_ranges.h"
#include "gen/client_impl.h"
#include "phos/address_window.h"
#include "ring/futex.h"

namespace phos::client {

namespace {

struct AllocationInfo {
  std::uint64_t bytes = 0;
  std::uint32_t references = 0;  // of handles
  std::uint32_t mappings = 0;
  CUmemAllocationProp properties{};
};
struct Mapping {
  std::uint64_t bytes = 0;
  std::uint64_t wire = 0;
  std::uint64_t allocation = 0;
  unsigned long long access = CU_MEM_ACCESS_FLAGS_PROT_NONE;
};
struct Reservation {
  std::uint64_t bytes = 0;
  std::uint64_t wire = 0;
};
struct Tables {
  std::map<std::uint64_t, Mapping> mappings;          // by address
  std::map<std::uint64_t, Reservation> reservations;  // by address
};

// SAFETY: leaked, as everything that cudart may use after our destructors would have run.
constinit ring::FutexLock g_lock;
constinit Tables* g_tables = nullptr;

class Locked {
 public:
  Locked() noexcept {
    g_lock.lock();
    if (g_tables == nullptr) g_tables = new (std::nothrow) Tables();
  }
  ~Locked() { g_lock.unlock(); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  explicit operator bool() const noexcept { return g_tables != nullptr; }
};

bool is_whole(std::uint64_t value) noexcept { return value % kChunkBytes == 0; }

AllocationInfo* allocation_of(CUmemGenericAllocationHandle handle) noexcept {
  auto* info = object_of<AllocationInfo>(HandleType::allocation, handle);
  return info != nullptr && info->references != 0 ? info : nullptr;
}

CUresult check_properties(const CUmemAllocationProp* properties) noexcept {
  if (properties == nullptr || properties->type != CU_MEM_ALLOCATION_TYPE_PINNED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
  return device_facts(properties->location.id) == nullptr ? CUDA_ERROR_INVALID_DEVICE
                                                          : CUDA_SUCCESS;
}

// Ends the physical memory when neither a handle nor a mapping is left.
CUresult end_if_unused(std::uint64_t handle, const AllocationInfo& info) noexcept {
  if (info.references != 0 || info.mappings != 0) return CUDA_SUCCESS;
  codec::Req_phos_vmm_release request{};
  codec::Rep_phos_vmm_release reply{};
  const CUresult status = retire_handle(HandleType::allocation, handle, &request.allocation);
  return status != CUDA_SUCCESS ? status : ask(request, &reply);
}

// The mappings that make up [address, address + bytes) exactly; empty where there are none such.
std::vector<std::uint64_t> mappings_in(std::uint64_t address, std::uint64_t bytes) noexcept {
  std::vector<std::uint64_t> found;
  std::uint64_t at = address;
  while (at - address < bytes) {
    const auto it = g_tables->mappings.find(at);
    if (it == g_tables->mappings.end() || it->second.bytes > bytes - (at - address)) return {};
    found.push_back(at);
    at += it->second.bytes;
  }
  return found;
}

bool is_free(std::uint64_t address, std::uint64_t bytes) noexcept {
  auto after = g_tables->mappings.lower_bound(address);
  if (after != g_tables->mappings.end() && after->first - address < bytes) return false;
  if (after == g_tables->mappings.begin()) return true;
  --after;
  return address - after->first >= after->second.bytes;
}

bool is_reserved(std::uint64_t address, std::uint64_t bytes) noexcept {
  auto after = g_tables->reservations.upper_bound(address);
  if (after == g_tables->reservations.begin()) return false;
  --after;
  const std::uint64_t offset = address - after->first;
  return offset < after->second.bytes && bytes <= after->second.bytes - offset;
}

void forget_range(std::uint64_t address) noexcept {
  MemoryRange old;
  take_range(address, [](const MemoryRange& it) { return it.kind == MemoryKind::mapped; }, &old);
}

CUresult set_access(std::uint64_t address, Mapping& mapping, CUmemAccess_flags flags,
                    CUdevice device) noexcept {
  codec::Req_phos_vmm_access request{};
  codec::Rep_phos_vmm_access reply{};
  request.mapping = mapping.wire;
  request.flags = static_cast<std::uint32_t>(flags);
  const CUresult status = ask(request, &reply);
  if (status != CUDA_SUCCESS) return status;
  const bool had = mapping.access != CU_MEM_ACCESS_FLAGS_PROT_NONE;
  mapping.access = static_cast<unsigned long long>(flags);
  if (flags == CU_MEM_ACCESS_FLAGS_PROT_NONE) {
    forget_range(address);
    return CUDA_SUCCESS;
  }
  MemoryRange range;
  range.base = address;
  range.bytes = mapping.bytes;
  range.kind = MemoryKind::mapped;
  range.device = device;
  return had || add_range(range) ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

}  // namespace

namespace impl {

CUresult cuMemAddressReserve(CUdeviceptr* ptr, size_t size, size_t alignment, CUdeviceptr addr,
                             unsigned long long flags) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (ptr == nullptr || size == 0 || !is_whole(size) || flags != 0 ||
      (alignment & (alignment - 1)) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  codec::Req_phos_vmm_reserve request{};
  codec::Rep_phos_vmm_reserve reply{};
  request.bytes = size;
  request.alignment = alignment;
  request.wish = addr;
  CUresult status = new_handle_under(HandleType::reservation, 0, &request.reservation);
  if (status != CUDA_SUCCESS) return status;
  status = ask(request, &reply);
  if (status != CUDA_SUCCESS) {
    drop_handle(HandleType::reservation, request.reservation);
    return status;
  }
  const Locked lock;
  if (!lock) return CUDA_ERROR_OUT_OF_MEMORY;
  g_tables->reservations[reply.address] = {size, request.reservation};
  *ptr = reply.address;
  return CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr ptr, size_t size) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  const Locked lock;
  if (!lock) return CUDA_ERROR_OUT_OF_MEMORY;
  const auto found = g_tables->reservations.find(ptr);
  if (found == g_tables->reservations.end() || found->second.bytes != size || !is_free(ptr, size)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  codec::Req_phos_vmm_unreserve request{};
  codec::Rep_phos_vmm_unreserve reply{};
  const CUresult status =
      retire_handle(HandleType::reservation, found->second.wire, &request.reservation);
  g_tables->reservations.erase(found);
  return status != CUDA_SUCCESS ? status : ask(request, &reply);
}

CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, size_t size,
                     const CUmemAllocationProp* prop, unsigned long long flags) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (handle == nullptr || size == 0 || !is_whole(size) || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  CUresult status = check_properties(prop);
  if (status != CUDA_SUCCESS) return status;
  // A program may ask for what it then does not use; exporting the handle is what is refused.
  if ((prop->requestedHandleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) != 0) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  codec::Req_phos_vmm_create request{};
  codec::Rep_phos_vmm_create reply{};
  request.bytes = size;
  status = new_handle_under(HandleType::allocation, 0, &request.allocation);
  if (status != CUDA_SUCCESS) return status;
  auto* info = object_of<AllocationInfo>(HandleType::allocation, request.allocation);
  status = info == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : ask(request, &reply);
  if (status != CUDA_SUCCESS) {
    drop_handle(HandleType::allocation, request.allocation);
    return status;
  }
  *info = {size, 1, 0, *prop};
  *handle = request.allocation;
  return CUDA_SUCCESS;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  const Locked lock;
  AllocationInfo* info = allocation_of(handle);
  if (info == nullptr) return CUDA_ERROR_INVALID_VALUE;
  --info->references;
  return end_if_unused(handle, *info);
}

CUresult cuMemMap(CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                  unsigned long long flags) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  const Locked lock;
  if (!lock) return CUDA_ERROR_OUT_OF_MEMORY;
  AllocationInfo* info = allocation_of(handle);
  if (info == nullptr || flags != 0 || size == 0 || !is_whole(ptr) || !is_whole(size) ||
      !is_whole(offset) || offset > info->bytes || size > info->bytes - offset ||
      !is_reserved(ptr, size) || !is_free(ptr, size)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  codec::Req_phos_vmm_map request{};
  codec::Rep_phos_vmm_map reply{};
  request.allocation = handle;
  request.address = ptr;
  request.bytes = size;
  request.offset = offset;
  CUresult status = new_handle_under(HandleType::mapping, 0, &request.mapping);
  if (status != CUDA_SUCCESS) return status;
  status = ask(request, &reply);
  if (status != CUDA_SUCCESS) {
    drop_handle(HandleType::mapping, request.mapping);
    return status;
  }
  ++info->mappings;
  g_tables->mappings[ptr] = {size, request.mapping, handle, CU_MEM_ACCESS_FLAGS_PROT_NONE};
  return CUDA_SUCCESS;
}

CUresult cuMemUnmap(CUdeviceptr ptr, size_t size) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  const Locked lock;
  if (!lock) return CUDA_ERROR_OUT_OF_MEMORY;
  const std::vector<std::uint64_t> all = mappings_in(ptr, size);
  if (all.empty()) return CUDA_ERROR_INVALID_VALUE;
  for (const std::uint64_t address : all) {
    const Mapping mapping = g_tables->mappings[address];
    codec::Req_phos_vmm_unmap request{};
    codec::Rep_phos_vmm_unmap reply{};
    CUresult status = retire_handle(HandleType::mapping, mapping.wire, &request.mapping);
    if (status == CUDA_SUCCESS) status = ask(request, &reply);
    if (status != CUDA_SUCCESS) return status;
    forget_range(address);
    g_tables->mappings.erase(address);
    auto* info = object_of<AllocationInfo>(HandleType::allocation, mapping.allocation);
    if (info == nullptr) continue;
    --info->mappings;
    status = end_if_unused(mapping.allocation, *info);
    if (status != CUDA_SUCCESS) return status;
  }
  return CUDA_SUCCESS;
}

CUresult cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc* desc, size_t count) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (desc == nullptr || count == 0) return CUDA_ERROR_INVALID_VALUE;
  for (std::size_t i = 0; i < count; ++i) {
    if (desc[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
    if (device_facts(desc[i].location.id) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  }
  const CUmemAccess_flags flags = desc[count - 1].flags;
  if (flags != CU_MEM_ACCESS_FLAGS_PROT_NONE && flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
      flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Locked lock;
  if (!lock) return CUDA_ERROR_OUT_OF_MEMORY;
  const std::vector<std::uint64_t> all = mappings_in(ptr, size);
  if (all.empty()) return CUDA_ERROR_INVALID_VALUE;
  for (const std::uint64_t address : all) {
    const CUresult status = set_access(address, g_tables->mappings[address], flags,
                                       desc[count - 1].location.id);
    if (status != CUDA_SUCCESS) return status;
  }
  return CUDA_SUCCESS;
}

CUresult cuMemGetAccess(unsigned long long* flags, const CUmemLocation* location,
                        CUdeviceptr ptr) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  const Locked lock;
  if (!lock || flags == nullptr || location == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto after = g_tables->mappings.upper_bound(ptr);
  if (after == g_tables->mappings.begin()) return CUDA_ERROR_INVALID_VALUE;
  --after;
  if (ptr - after->first >= after->second.bytes) return CUDA_ERROR_INVALID_VALUE;
  *flags = after->second.access;
  return CUDA_SUCCESS;
}

CUresult cuMemGetAllocationGranularity(size_t* granularity, const CUmemAllocationProp* prop,
                                       CUmemAllocationGranularity_flags) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (granularity == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUresult status = check_properties(prop);
  if (status == CUDA_SUCCESS) *granularity = kChunkBytes;
  return status;
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp* prop,
                                                CUmemGenericAllocationHandle handle) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  const Locked lock;
  const AllocationInfo* info = allocation_of(handle);
  if (prop == nullptr || info == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *prop = info->properties;
  return CUDA_SUCCESS;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle* handle, void* addr) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  const Locked lock;
  if (!lock || handle == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto after = g_tables->mappings.upper_bound(bits_of(addr));
  if (after == g_tables->mappings.begin()) return CUDA_ERROR_INVALID_VALUE;
  --after;
  if (bits_of(addr) - after->first >= after->second.bytes) return CUDA_ERROR_INVALID_VALUE;
  auto* info = object_of<AllocationInfo>(HandleType::allocation, after->second.allocation);
  if (info == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ++info->references;
  *handle = after->second.allocation;
  return CUDA_SUCCESS;
}

}  // namespace impl
}  // namespace phos::client
