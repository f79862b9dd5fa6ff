// SPDX-License-Identifier: Apache-2.0
// Pointer attributes, answered from the client's table of ranges.
#include <string.h>

#include "client/call.h"
#include "client/memory_ranges.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

constexpr int kUnknownDevice = -2;

template <class T>
CUresult put(void* data, T value) noexcept {
  memcpy(data, &value, sizeof(value));
  return CUDA_SUCCESS;
}

CUresult put_of_host(void* data, CUpointer_attribute attribute, std::uint64_t address,
                     const MemoryRange& range) noexcept {
  const bool is_device_too = range.kind != MemoryKind::registered;
  if (attribute == CU_POINTER_ATTRIBUTE_HOST_POINTER) return put(data, address);
  if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_POINTER && is_device_too) return put(data, address);
  return CUDA_ERROR_INVALID_VALUE;
}

// Writes the attribute of an address within `range`.
CUresult put_attribute(void* data, CUpointer_attribute attribute, std::uint64_t address,
                       const MemoryRange& range) noexcept {
  const bool host = range.kind == MemoryKind::host || range.kind == MemoryKind::registered;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      return put(data, range.context);
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      return put<std::uint32_t>(data, host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE);
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      return range.is_host() ? put_of_host(data, attribute, address, range) : put(data, address);
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      return range.is_host() ? put_of_host(data, attribute, address, range)
                             : CUDA_ERROR_INVALID_VALUE;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
      return put<std::uint32_t>(data, range.sync_memops ? 1 : 0);
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
      return put(data, range.buffer_id);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
      return put<std::uint32_t>(data, range.kind == MemoryKind::managed ? 1 : 0);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      return put<std::int32_t>(data, range.device);
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
      return put<std::uint32_t>(data, 0);
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
      return put(data, range.base);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
      return put(data, range.bytes);
    case CU_POINTER_ATTRIBUTE_MAPPED:
      return put<std::uint32_t>(data, 1);
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
      return put<std::uint64_t>(data, 0);
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      return put<std::uint32_t>(data, CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE);
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
      return range.kind == MemoryKind::pool ? put(data, range.owner) : put<std::uint64_t>(data, 0);
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
      return put(data, range.buffer_id);
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

// What cuPointerGetAttributes writes for an address that CUDA knows nothing of.
void put_unknown(void* data, CUpointer_attribute attribute) noexcept {
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      put<std::int32_t>(data, kUnknownDevice);
      return;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      put<std::uint32_t>(data, 0);
      return;
    default:
      put<std::uint64_t>(data, 0);
  }
}

bool is_known(CUpointer_attribute attribute) noexcept {
  return attribute >= CU_POINTER_ATTRIBUTE_CONTEXT &&
         attribute <= CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID;
}

}  // namespace

namespace impl {

CUresult cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr ptr) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (data == nullptr || !is_known(attribute)) return CUDA_ERROR_INVALID_VALUE;
  MemoryRange range;
  if (!find_range(ptr, &range)) return CUDA_ERROR_INVALID_VALUE;
  return put_attribute(data, attribute, ptr, range);
}

CUresult cuPointerGetAttributes(unsigned int numAttributes, CUpointer_attribute* attributes,
                                void** data, CUdeviceptr ptr) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (numAttributes == 0 || attributes == nullptr || data == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  MemoryRange range;
  const bool found = find_range(ptr, &range);
  for (unsigned i = 0; i < numAttributes; ++i) {
    if (data[i] == nullptr || !is_known(attributes[i])) return CUDA_ERROR_INVALID_VALUE;
    if (!found || put_attribute(data[i], attributes[i], ptr, range) != CUDA_SUCCESS) {
      put_unknown(data[i], attributes[i]);
    }
  }
  return CUDA_SUCCESS;
}

CUresult cuPointerSetAttribute(const void* value, CUpointer_attribute attribute, CUdeviceptr ptr) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (value == nullptr || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::uint32_t on = 0;
  memcpy(&on, value, sizeof(on));
  return set_sync_memops(ptr, on != 0) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace impl
}  // namespace phos::client
