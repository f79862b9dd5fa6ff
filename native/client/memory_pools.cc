// SPDX-License-Identifier: Apache-2.0
// Stream-ordered allocation.
#include "client/call.h"
#include "client/capture.h"
#include "client/memory_ranges.h"
#include "gen/client_impl.h"

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
  *result = address;
  return CUDA_SUCCESS;
}

CUresult stream_arg(CUstream stream, std::uint64_t* wire) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  const CUresult status = handle_arg(HandleType::stream, bits_of(stream), true, wire);
  return status != CUDA_SUCCESS ? status : check_submit(*wire);
}

}  // namespace

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
  codec::Req_cuMemAllocAsync request{};
  codec::Rep_cuMemAllocAsync reply{};
  if (dptr == nullptr || bytesize == 0) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = stream_arg(hStream, &request.hStream);
  if (status != CUDA_SUCCESS) return status;
  request.bytesize = bytesize;
  status = ask(request, &reply);
  return status != CUDA_SUCCESS ? status : keep(reply.dptr, bytesize, 0, dptr);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr* dptr, size_t bytesize, CUmemoryPool pool,
                                 CUstream hStream) {
  codec::Req_cuMemAllocFromPoolAsync request{};
  codec::Rep_cuMemAllocFromPoolAsync reply{};
  if (dptr == nullptr || bytesize == 0) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = stream_arg(hStream, &request.hStream);
  if (status != CUDA_SUCCESS) return status;
  status = handle_arg(HandleType::memory_pool, bits_of(pool), false, &request.pool);
  if (status != CUDA_SUCCESS) return status;
  request.bytesize = bytesize;
  status = ask(request, &reply);
  return status != CUDA_SUCCESS ? status : keep(reply.dptr, bytesize, request.pool, dptr);
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
  request.dptr = dptr;
  return tell(request);
}

}  // namespace impl
}  // namespace phos::client
