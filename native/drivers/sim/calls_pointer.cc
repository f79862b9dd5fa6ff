// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/calls.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

// Stores a value of the type that the documentation of the attribute names.
template <class T>
CUresult put(void* data, T value) {
  *static_cast<T*>(data) = value;
  return CUDA_SUCCESS;
}

// The whole of what cuMemAddressReserve gave, where the block lies in such a range.
Reservation surroundings(const Block& block) {
  const auto found = runtime().memory->reservation_of(block.base);
  return found ? *found : Reservation{block.base, block.bytes};
}

CUresult put_attribute(const Block& block, void* data, CUpointer_attribute attribute,
                       CUdeviceptr address) {
  const std::uint64_t offset = address - block.base;
  const bool host = block.is_host();
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      return put(data, as_handle<CUcontext>(block.context));
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      return put(data, static_cast<unsigned>(host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE));
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      return put(data, address);
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      if (!host && block.kind != BlockKind::managed) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      return put<void*>(data, block.host + offset);
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
      return put(data, static_cast<unsigned>(block.sync_memops));
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
      return put(data, static_cast<unsigned long long>(block.id));
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
      return put(data, block.kind == BlockKind::managed ? 1U : 0U);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      return put(data, block.device);
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
      return put(data, 0U);
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      return put(data, static_cast<CUdeviceptr>(block.base));
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      return put(data, static_cast<std::size_t>(block.bytes));
    case CU_POINTER_ATTRIBUTE_MAPPED:
      return put(data, 1U);
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
      return put(data, 0ULL);
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      return put(data, block.read_only ? CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READ
                                       : CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE);
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
      return put(data, as_handle<CUmemoryPool>(block.pool));
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
      return put(data, static_cast<std::size_t>(surroundings(block).bytes));
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
      return put(data, static_cast<CUdeviceptr>(surroundings(block).base));
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult pointer_get_attribute(void* data, CUpointer_attribute attribute, CUdeviceptr address) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Block* block = runtime().memory->find(address);
  if (data == nullptr || block == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return put_attribute(*block, data, attribute, address);
}

// Size of what an attribute of an unknown pointer is set to: all zero, device ordinal -2.
CUresult put_unknown(void* data, CUpointer_attribute attribute) {
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      return put(data, -2);
    case CU_POINTER_ATTRIBUTE_CONTEXT:
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
      return put(data, std::uint64_t{0});
    default:
      return put(data, std::uint32_t{0});
  }
}

CUresult pointer_get_attributes(unsigned count, CUpointer_attribute* attributes, void** data,
                                CUdeviceptr address) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (count == 0 || attributes == nullptr || data == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Block* block = runtime().memory->find(address);
  for (unsigned i = 0; i < count; ++i) {
    if (data[i] == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (block == nullptr || put_attribute(*block, data[i], attributes[i], address) != 0) {
      put_unknown(data[i], attributes[i]);
    }
  }
  return CUDA_SUCCESS;
}

CUresult pointer_set_attribute(const void* value, CUpointer_attribute attribute,
                               CUdeviceptr address) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Block* block = runtime().memory->find(address);
  if (value == nullptr || block == nullptr || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  block->sync_memops = *static_cast<const int*>(value) != 0 ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult range_get_attribute(void* data, std::size_t bytes, CUmem_range_attribute attribute,
                             CUdeviceptr address, std::size_t /*count*/) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Block* block = runtime().memory->find(address);
  if (data == nullptr || bytes < sizeof(int) || block == nullptr ||
      block->kind != BlockKind::managed) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // Advice is accepted and forgotten: nothing is read-mostly and no place is preferred.
  return put(data, attribute == CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY ? 0 : CU_DEVICE_INVALID);
}

}  // namespace

void fill_pointer_calls(DriverTable& table) {
  table.cuPointerGetAttribute = pointer_get_attribute;
  table.cuPointerGetAttributes = pointer_get_attributes;
  table.cuPointerSetAttribute = pointer_set_attribute;
  table.cuMemRangeGetAttribute = range_get_attribute;
}

}  // namespace phos::sim
