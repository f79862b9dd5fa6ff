// SPDX-License-Identifier: Apache-2.0
// Stream-ordered allocation.
#include <string.h>

#include "client/call.h"
#include "client/capture.h"
#include "client/memory_ranges.h"
#include "gen/client_impl.h"
#include "gen/value_checks.h"

namespace phos::client {

namespace {

struct DevicePools {
  ring::FutexLock lock;
  std::uint64_t initial = 0;  // what the device came with
  std::uint64_t current = 0;  // 0: the initial one
};
// SAFETY: leaked, see process.h.
constinit DevicePools g_pools[kMaxDevices];

CUresult initial_pool(CUdevice device, std::uint64_t* pool) noexcept {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (device_facts(device) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  DevicePools& pools = g_pools[device];
  pools.lock.lock();
  CUresult status = CUDA_SUCCESS;
  if (pools.initial == 0) {
    codec::Req_cuDeviceGetDefaultMemPool request{};
    codec::Rep_cuDeviceGetDefaultMemPool reply{};
    request.dev = static_cast<std::uint64_t>(device);
    status = new_handle_under(HandleType::memory_pool, 0, &request.pool_out);
    if (status == CUDA_SUCCESS) status = ask(request, &reply);
    if (status == CUDA_SUCCESS) {
      pools.initial = request.pool_out;
    } else if (request.pool_out != 0) {
      drop_handle(HandleType::memory_pool, request.pool_out);
    }
  }
  *pool = pools.initial;
  pools.lock.unlock();
  return status;
}

struct PoolInfo {
  std::atomic<std::uint64_t> used{0};
  std::atomic<std::uint64_t> used_high{0};
};

PoolInfo* info_of(std::uint64_t pool) noexcept {
  return object_of<PoolInfo>(HandleType::memory_pool, pool);
}

void count_allocation(std::uint64_t pool, std::uint64_t bytes) noexcept {
  PoolInfo* info = info_of(pool);
  if (info == nullptr) return;
  const std::uint64_t now = info->used.fetch_add(bytes) + bytes;
  std::uint64_t high = info->used_high.load();
  while (now > high && !info->used_high.compare_exchange_weak(high, now)) {
  }
}

CUresult keep(std::uint64_t address, std::uint64_t bytes, std::uint64_t pool,
              CUdeviceptr* result) noexcept {
  MemoryRange range;
  range.base = address;
  range.bytes = bytes;
  range.kind = MemoryKind::pool;
  range.device = current_device();
  range.context = current_context();
  range.owner = pool;
  // An address comes back before the client hears that its last use was freed by a graph.
  MemoryRange old;
  take_range(address, [](const MemoryRange& it) { return it.kind == MemoryKind::pool; }, &old);
  if (!add_range(range)) return CUDA_ERROR_UNKNOWN;
  count_allocation(pool, bytes);
  *result = address;
  return CUDA_SUCCESS;
}

CUresult stream_arg(CUstream stream, std::uint64_t* wire) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  const CUresult status = handle_arg(HandleType::stream, bits_of(stream), true, wire);
  return status != CUDA_SUCCESS ? status : check_submit(*wire);
}

// What a graph allocates while it is captured lives as long as the context, since the graph may be
// launched for as long: a plain allocation, and its free in the capture ends nothing.
CUresult allocate(std::uint64_t pool, std::uint64_t stream, std::uint64_t bytes, bool from_pool,
                  CUdeviceptr* result) noexcept {
  if (is_capturing(stream)) {
    codec::Req_cuMemAlloc request{};
    codec::Rep_cuMemAlloc reply{};
    request.bytesize = bytes;
    const CUresult status = ask(request, &reply);
    return status != CUDA_SUCCESS ? status : keep(reply.dptr, bytes, pool, result);
  }
  if (from_pool) {
    codec::Req_cuMemAllocFromPoolAsync request{};
    codec::Rep_cuMemAllocFromPoolAsync reply{};
    request.bytesize = bytes;
    request.pool = pool;
    request.hStream = stream;
    const CUresult status = ask(request, &reply);
    return status != CUDA_SUCCESS ? status : keep(reply.dptr, bytes, pool, result);
  }
  codec::Req_cuMemAllocAsync request{};
  codec::Rep_cuMemAllocAsync reply{};
  request.bytesize = bytes;
  request.hStream = stream;
  const CUresult status = ask(request, &reply);
  return status != CUDA_SUCCESS ? status : keep(reply.dptr, bytes, pool, result);
}

// The fields of CUmemPool_attribute that say how much memory is in use; phos keeps no reserve.
bool usage_of(const PoolInfo& info, CUmemPool_attribute attribute, std::uint64_t* value) noexcept {
  switch (attribute) {
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
      *value = info.used.load();
      return true;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
      *value = info.used_high.load();
      return true;
    default:
      return false;
  }
}

}  // namespace

void note_pool_free(const MemoryRange& range) noexcept {
  if (range.kind != MemoryKind::pool) return;
  PoolInfo* info = info_of(range.owner);
  if (info != nullptr) info->used.fetch_sub(range.bytes);
}

namespace impl {

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool_out, CUdevice dev) {
  std::uint64_t pool = 0;
  if (pool_out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult status = initial_pool(dev, &pool); status != CUDA_SUCCESS) return status;
  *pool_out = pointer_of<CUmemoryPool>(pool);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetMemPool(CUmemoryPool* pool, CUdevice dev) {
  std::uint64_t handle = 0;
  if (pool == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult status = initial_pool(dev, &handle); status != CUDA_SUCCESS) return status;
  const std::uint64_t current = g_pools[dev].current;
  *pool = pointer_of<CUmemoryPool>(current == 0 ? handle : current);
  return CUDA_SUCCESS;
}

CUresult cuDeviceSetMemPool(CUdevice dev, CUmemoryPool pool) {
  codec::Req_cuDeviceSetMemPool request{};
  codec::Rep_cuDeviceSetMemPool reply{};
  std::uint64_t initial = 0;
  if (const CUresult status = initial_pool(dev, &initial); status != CUDA_SUCCESS) return status;
  CUresult status = handle_arg(HandleType::memory_pool, bits_of(pool), false, &request.pool);
  if (status != CUDA_SUCCESS) return status;
  request.dev = static_cast<std::uint64_t>(dev);
  status = ask(request, &reply);
  if (status == CUDA_SUCCESS) g_pools[dev].current = request.pool;
  return status;
}

CUresult cuMemAllocAsync(CUdeviceptr* dptr, size_t bytesize, CUstream hStream) {
  std::uint64_t stream = 0;
  std::uint64_t pool = 0;
  if (dptr == nullptr || bytesize == 0) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = stream_arg(hStream, &stream);
  const CUdevice device = current_device();
  if (status == CUDA_SUCCESS) status = initial_pool(device, &pool);
  if (status != CUDA_SUCCESS) return status;
  if (g_pools[device].current != 0) pool = g_pools[device].current;
  return allocate(pool, stream, bytesize, false, dptr);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr* dptr, size_t bytesize, CUmemoryPool pool,
                                 CUstream hStream) {
  std::uint64_t stream = 0;
  std::uint64_t wire = 0;
  if (dptr == nullptr || bytesize == 0) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = stream_arg(hStream, &stream);
  if (status == CUDA_SUCCESS) {
    status = handle_arg(HandleType::memory_pool, bits_of(pool), false, &wire);
  }
  return status != CUDA_SUCCESS ? status : allocate(wire, stream, bytesize, true, dptr);
}

CUresult cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream) {
  codec::Req_cuMemFreeAsync request{};
  const CUresult status = stream_arg(hStream, &request.hStream);
  if (status != CUDA_SUCCESS) return status;
  if (dptr == 0) return CUDA_SUCCESS;
  MemoryRange range;
  const auto can_free = [](const MemoryRange& it) {
    return it.kind == MemoryKind::device || it.kind == MemoryKind::pool;
  };
  if (!take_range(dptr, can_free, &range)) return CUDA_ERROR_INVALID_VALUE;
  note_pool_free(range);
  if (is_capturing(request.hStream)) return CUDA_SUCCESS;
  request.dptr = dptr;
  return tell(request);
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void* value) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  codec::Req_cuMemPoolGetAttribute request{};
  codec::Rep_cuMemPoolGetAttribute reply{};
  const CUresult status = handle_arg(HandleType::memory_pool, bits_of(pool), false, &request.pool);
  if (status != CUDA_SUCCESS) return status;
  const std::size_t bytes = value_size::mem_pool_attribute(attr);
  if (value == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  std::uint64_t usage = 0;
  const PoolInfo* info = info_of(request.pool);
  if (info != nullptr && usage_of(*info, attr, &usage)) {
    memcpy(value, &usage, sizeof(usage));
    return CUDA_SUCCESS;
  }
  request.attr = static_cast<std::uint32_t>(attr);
  OutBlob out[] = {{value, bytes, 0}};
  return call_sync(CallId::cuMemPoolGetAttribute, request, {}, &reply, out);
}

}  // namespace impl
}  // namespace phos::client
