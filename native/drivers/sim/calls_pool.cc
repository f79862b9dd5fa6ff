// SPDX-License-Identifier: Apache-2.0
// Stream-ordered allocation. An allocation takes effect at the call: its address may be used on the
// stream at once, which every legal program is content with. A free takes effect in stream order.
#include <algorithm>

#include "drivers/sim/calls.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/operations.h"
#include "drivers/sim/pool.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

std::uint64_t default_pool(Device& device) {
  if (device.default_pool == 0) {
    const auto pool = std::make_shared<Pool>();
    pool->device = &device;
    pool->handle = runtime().pools.add(pool);
    device.default_pool = pool->handle;
    device.current_pool = pool->handle;
  }
  return device.default_pool;
}

CUresult allocate(CUdeviceptr* out, std::size_t bytes, std::uint64_t pool_handle,
                  CUstream stream_handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Stream* stream = find_stream(entry, stream_handle);
  if (out == nullptr || bytes == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (stream == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  default_pool(*stream->context->device);
  Pool* pool = runtime().pools.find(
      pool_handle != 0 ? pool_handle : stream->context->device->current_pool);
  if (pool == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Block* block = nullptr;
  CUresult result = runtime().memory->allocate(*pool->device, stream->context->handle, bytes,
                                               BlockKind::pooled, &block);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    // Frees that are still queued may make room.
    settle(entry);
    result = runtime().memory->allocate(*pool->device, stream->context->handle, bytes,
                                        BlockKind::pooled, &block);
  }
  if (result == CUDA_SUCCESS) {
    block->pool = pool->handle;
    pool->used += bytes;
    pool->used_high = std::max(pool->used_high, pool->used);
    *out = block->base;
    if (stream->capture) {
      return submit(entry, *stream, std::make_unique<EmptyOperation>());
    }
  }
  return result;
}

CUresult alloc_async(CUdeviceptr* out, std::size_t bytes, CUstream stream) {
  return allocate(out, bytes, 0, stream);
}

CUresult alloc_from_pool_async(CUdeviceptr* out, std::size_t bytes, CUmemoryPool pool,
                               CUstream stream) {
  return pool == nullptr ? CUDA_ERROR_INVALID_VALUE
                         : allocate(out, bytes, handle_bits(pool), stream);
}

CUresult free_async(CUdeviceptr address, CUstream stream_handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Stream* stream = find_stream(entry, stream_handle);
  if (stream == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (address == 0) {
    return CUDA_SUCCESS;
  }
  Block* block = runtime().memory->find(address);
  if (block == nullptr || block->base != address || block->freeing ||
      (block->kind != BlockKind::pooled && block->kind != BlockKind::device)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (stream->capture) {
    // What a graph allocates lives as long as the context, so that it may be launched as long.
    return submit(entry, *stream, std::make_unique<EmptyOperation>());
  }
  block->freeing = true;
  return submit(entry, *stream, std::make_unique<FreeOperation>(address));
}

CUresult enter(Entry& entry, CUmemoryPool handle, const void* out, Pool** pool) {
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *pool = runtime().pools.find(handle_bits(handle));
  return *pool == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult pool_create(CUmemoryPool* out, const CUmemPoolProps* properties) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || properties == nullptr ||
      properties->allocType != CU_MEM_ALLOCATION_TYPE_PINNED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
      properties->handleTypes != CU_MEM_HANDLE_TYPE_NONE) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  Device* device = find_device(properties->location.id);
  if (device == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  const auto pool = std::make_shared<Pool>();
  pool->device = device;
  pool->handle = runtime().pools.add(pool);
  *out = as_handle<CUmemoryPool>(pool->handle);
  return CUDA_SUCCESS;
}

// What was allocated from it stays until it is freed.
CUresult pool_destroy(CUmemoryPool handle) {
  Entry entry;
  Pool* pool = nullptr;
  if (const CUresult result = enter(entry, handle, &entry, &pool); result != CUDA_SUCCESS) {
    return result;
  }
  Device& device = *pool->device;
  if (pool->handle == device.default_pool) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (device.current_pool == pool->handle) {
    device.current_pool = device.default_pool;
  }
  runtime().pools.remove(pool->handle);
  return CUDA_SUCCESS;
}

CUresult device_pool(CUmemoryPool* out, CUdevice ordinal, bool current) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Device* device = find_device(ordinal);
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (device == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  const std::uint64_t pool = default_pool(*device);
  *out = as_handle<CUmemoryPool>(current ? device->current_pool : pool);
  return CUDA_SUCCESS;
}

CUresult device_get_default_pool(CUmemoryPool* out, CUdevice device) {
  return device_pool(out, device, false);
}
CUresult device_get_pool(CUmemoryPool* out, CUdevice device) {
  return device_pool(out, device, true);
}

CUresult device_set_pool(CUdevice ordinal, CUmemoryPool handle) {
  Entry entry;
  Pool* pool = nullptr;
  if (const CUresult result = enter(entry, handle, &entry, &pool); result != CUDA_SUCCESS) {
    return result;
  }
  Device* device = find_device(ordinal);
  if (device == nullptr || pool->device != device) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  default_pool(*device);
  device->current_pool = pool->handle;
  return CUDA_SUCCESS;
}

bool is_device_memory(const CUmemLocation* location, CUmemAllocationType type) noexcept {
  return location != nullptr && location->type == CU_MEM_LOCATION_TYPE_DEVICE &&
         type == CU_MEM_ALLOCATION_TYPE_PINNED;
}

CUresult location_get_default_pool(CUmemoryPool* out, CUmemLocation* location,
                                   CUmemAllocationType type) {
  return is_device_memory(location, type) ? device_pool(out, location->id, false)
                                          : CUDA_ERROR_NOT_SUPPORTED;
}
CUresult location_get_pool(CUmemoryPool* out, CUmemLocation* location, CUmemAllocationType type) {
  return is_device_memory(location, type) ? device_pool(out, location->id, true)
                                          : CUDA_ERROR_NOT_SUPPORTED;
}
CUresult location_set_pool(CUmemLocation* location, CUmemAllocationType type, CUmemoryPool pool) {
  return is_device_memory(location, type) ? device_set_pool(location->id, pool)
                                          : CUDA_ERROR_NOT_SUPPORTED;
}

// Freed memory goes back at once, so there is nothing to trim.
CUresult trim_to(CUmemoryPool handle, std::size_t /*keep*/) {
  Entry entry;
  Pool* pool = nullptr;
  return enter(entry, handle, &entry, &pool);
}

bool is_flag(CUmemPool_attribute attribute) noexcept {
  return attribute >= CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES &&
         attribute <= CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES;
}

CUresult set_attribute(CUmemoryPool handle, CUmemPool_attribute attribute, void* value) {
  Entry entry;
  Pool* pool = nullptr;
  if (const CUresult result = enter(entry, handle, value, &pool); result != CUDA_SUCCESS) {
    return result;
  }
  if (is_flag(attribute)) {
    pool->reuse[attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES] =
        *static_cast<const int*>(value);
    return CUDA_SUCCESS;
  }
  const std::uint64_t number = *static_cast<const cuuint64_t*>(value);
  switch (attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      pool->release_threshold = number;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      if (number != 0) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      pool->used_high = pool->used;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult get_attribute(CUmemoryPool handle, CUmemPool_attribute attribute, void* value) {
  Entry entry;
  Pool* pool = nullptr;
  if (const CUresult result = enter(entry, handle, value, &pool); result != CUDA_SUCCESS) {
    return result;
  }
  if (is_flag(attribute)) {
    *static_cast<int*>(value) =
        pool->reuse[attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES];
    return CUDA_SUCCESS;
  }
  auto& number = *static_cast<cuuint64_t*>(value);
  switch (attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      number = pool->release_threshold;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
      number = pool->used;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      number = pool->used_high;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult set_access(CUmemoryPool handle, const CUmemAccessDesc* list, std::size_t count) {
  Entry entry;
  Pool* pool = nullptr;
  if (const CUresult result = enter(entry, handle, list, &pool); result != CUDA_SUCCESS) {
    return result;
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (list[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
        find_device(list[i].location.id) == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return CUDA_SUCCESS;
}

CUresult get_access(CUmemAccess_flags* flags, CUmemoryPool handle, CUmemLocation* location) {
  Entry entry;
  Pool* pool = nullptr;
  if (const CUresult result = enter(entry, handle, flags, &pool); result != CUDA_SUCCESS) {
    return result;
  }
  if (location == nullptr || location->type != CU_MEM_LOCATION_TYPE_DEVICE) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return CUDA_SUCCESS;
}

// Memory of graphs is never given back while its context lives, so there is nothing to trim.
CUresult graph_trim(CUdevice ordinal) {
  Entry entry;
  const CUresult ready = entry.initialised();
  if (ready != CUDA_SUCCESS) return ready;
  return find_device(ordinal) == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

}  // namespace

void fill_pool_calls(DriverTable& table) {
  table.cuDeviceGraphMemTrim = graph_trim;
  table.cuMemAllocAsync = alloc_async;
  table.cuMemAllocFromPoolAsync = alloc_from_pool_async;
  table.cuMemFreeAsync = free_async;
  table.cuMemPoolCreate = pool_create;
  table.cuMemPoolDestroy = pool_destroy;
  table.cuMemPoolTrimTo = trim_to;
  table.cuMemPoolSetAttribute = set_attribute;
  table.cuMemPoolGetAttribute = get_attribute;
  table.cuMemPoolSetAccess = set_access;
  table.cuMemPoolGetAccess = get_access;
  table.cuDeviceGetDefaultMemPool = device_get_default_pool;
  table.cuDeviceGetMemPool = device_get_pool;
  table.cuDeviceSetMemPool = device_set_pool;
  table.cuMemGetDefaultMemPool = location_get_default_pool;
  table.cuMemGetMemPool = location_get_pool;
  table.cuMemSetMemPool = location_set_pool;
}

}  // namespace phos::sim
