// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "drivers/sim/calls.h"
#include "drivers/sim/device_facts.h"
#include "drivers/sim/device_heap.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

constexpr std::size_t kMaxStackBytes = 256U << 10;
std::uint64_t current_handle() noexcept {
  const ThreadState& thread = this_thread();
  return thread.depth == 0 ? 0 : thread.stack[thread.depth - 1];
}

// The context that a handle names; null is the current one.
Context* context_or_current(CUcontext handle) {
  const std::uint64_t bits = handle == nullptr ? current_handle() : handle_bits(handle);
  return runtime().contexts.find(bits);
}

CUresult push(std::uint64_t handle) {
  ThreadState& thread = this_thread();
  if (thread.depth == ThreadState::kMaxDepth) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  thread.stack[thread.depth++] = handle;
  return CUDA_SUCCESS;
}

CUresult context_create(CUcontext* out, CUctxCreateParams* parameters, unsigned flags,
                        CUdevice ordinal) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Device* device = find_device(ordinal);
  if (out == nullptr || (flags & ~kKnownContextFlags) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (device == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  if (parameters != nullptr &&
      (parameters->numExecAffinityParams != 0 || parameters->cigParams != nullptr)) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  const std::uint64_t handle = runtime().create_context(*device, flags, false)->handle;
  *out = as_handle<CUcontext>(handle);
  return push(handle);
}

CUresult context_destroy(CUcontext handle) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const std::shared_ptr<Context> context = runtime().contexts.share(handle_bits(handle));
  if (!context || context->primary) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  runtime().destroy_context(entry.guard(), *context);
  ThreadState& thread = this_thread();
  if (current_handle() == handle_bits(handle)) {
    --thread.depth;
  }
  return CUDA_SUCCESS;
}

CUresult context_push(CUcontext handle) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (runtime().contexts.find(handle_bits(handle)) == nullptr) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  return push(handle_bits(handle));
}

CUresult context_pop(CUcontext* out) {
  ThreadState& thread = this_thread();
  if (thread.depth == 0) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  const std::uint64_t handle = thread.stack[--thread.depth];
  if (out != nullptr) {
    *out = as_handle<CUcontext>(handle);
  }
  return CUDA_SUCCESS;
}

CUresult context_set_current(CUcontext handle) {
  ThreadState& thread = this_thread();
  const std::uint64_t bits = handle_bits(handle);
  if (bits == current_handle()) {
    return CUDA_SUCCESS;
  }
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (bits == 0) {
    thread.depth -= thread.depth == 0 ? 0U : 1U;
    return CUDA_SUCCESS;
  }
  if (runtime().contexts.find(bits) == nullptr) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  if (thread.depth == 0) {
    return push(bits);
  }
  thread.stack[thread.depth - 1] = bits;
  return CUDA_SUCCESS;
}

CUresult context_get_current(CUcontext* out) {
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (!runtime().initialised) {
    return CUDA_ERROR_NOT_INITIALIZED;
  }
  *out = as_handle<CUcontext>(current_handle());
  return CUDA_SUCCESS;
}

// Looks a context up for a query that a dead context may still answer.
CUresult query(Entry& entry, CUcontext handle, const void* out, Context** context) {
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *context = context_or_current(handle);
  return *context == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

CUresult context_get_device(CUdevice* device, CUcontext handle) {
  Entry entry;
  Context* context = nullptr;
  const CUresult result = query(entry, handle, device, &context);
  if (result == CUDA_SUCCESS) {
    *device = context->device->ordinal;
  }
  return result;
}

CUresult context_get_flags(unsigned* flags) {
  Entry entry;
  Context* context = nullptr;
  const CUresult result = query(entry, nullptr, flags, &context);
  if (result == CUDA_SUCCESS) {
    *flags = context->flags;
  }
  return result;
}

CUresult context_set_flags(unsigned flags) {
  Entry entry;
  Context* context = nullptr;
  const CUresult result = query(entry, nullptr, &flags, &context);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  if ((flags & ~kKnownContextFlags) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  context->flags = flags;
  return CUDA_SUCCESS;
}

CUresult context_get_id(CUcontext handle, unsigned long long* id) {
  Entry entry;
  Context* context = nullptr;
  const CUresult result = query(entry, handle, id, &context);
  if (result == CUDA_SUCCESS) {
    *id = context->id;
  }
  return result;
}

CUresult context_get_api_version(CUcontext handle, unsigned* version) {
  Entry entry;
  Context* context = nullptr;
  const CUresult result = query(entry, handle, version, &context);
  if (result == CUDA_SUCCESS) {
    *version = context->api_version;
  }
  return result;
}

CUresult context_synchronize(CUcontext handle) {
  Entry entry;
  Context* found = nullptr;
  if (const CUresult result = query(entry, handle, &entry, &found); result != CUDA_SUCCESS) {
    return result;
  }
  const std::shared_ptr<Context> context = runtime().contexts.share(found->handle);
  if (context->captures != 0) {
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  std::vector<std::pair<std::shared_ptr<Stream>, std::uint64_t>> targets;
  for (Stream* stream : context->streams) {
    if (!stream->idle()) {
      targets.emplace_back(stream->shared_from_this(), stream->last);
    }
  }
  for (const auto& [stream, last] : targets) {
    runtime().scheduler.wait(entry.guard(), *stream, last);
  }
  return context->error;
}

CUresult context_set_limit(CUlimit limit, std::size_t value) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  switch (limit) {
    case CU_LIMIT_STACK_SIZE:
      if (value > kMaxStackBytes) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      break;
    case CU_LIMIT_MALLOC_HEAP_SIZE:
      device_heap().set_limit(value);
      break;
    case CU_LIMIT_PRINTF_FIFO_SIZE:
    case CU_LIMIT_MAX_L2_FETCH_GRANULARITY:
    case CU_LIMIT_PERSISTING_L2_CACHE_SIZE:
      break;
    default:
      return CUDA_ERROR_UNSUPPORTED_LIMIT;
  }
  entry.context().limits[limit] = value;
  return CUDA_SUCCESS;
}

CUresult context_get_limit(std::size_t* value, CUlimit limit) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (value == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (limit < 0 || limit > CU_LIMIT_PERSISTING_L2_CACHE_SIZE ||
      limit == CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH ||
      limit == CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT) {
    return CUDA_ERROR_UNSUPPORTED_LIMIT;
  }
  *value = entry.context().limits[limit];
  return CUDA_SUCCESS;
}

CUresult get_cache_config(CUfunc_cache* config) {
  Entry entry;
  Context* context = nullptr;
  const CUresult result = query(entry, nullptr, config, &context);
  if (result == CUDA_SUCCESS) {
    *config = context->cache_config;
  }
  return result;
}

CUresult set_cache_config(CUfunc_cache config) {
  Entry entry;
  Context* context = nullptr;
  const CUresult result = query(entry, nullptr, &config, &context);
  if (result == CUDA_SUCCESS) {
    context->cache_config = config;
  }
  return result;
}

CUresult get_shared_config(CUsharedconfig* config) {
  Entry entry;
  Context* context = nullptr;
  const CUresult result = query(entry, nullptr, config, &context);
  if (result == CUDA_SUCCESS) {
    *config = context->shared_config;
  }
  return result;
}

// Banks of this device have one width, so like hardware from 5.x on it accepts and ignores this.
CUresult set_shared_config(CUsharedconfig config) {
  Entry entry;
  Context* context = nullptr;
  return query(entry, nullptr, &config, &context);
}

CUresult get_priority_range(int* least, int* greatest) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (least != nullptr) {
    *least = 0;
  }
  if (greatest != nullptr) {
    *greatest = kGreatestPriority;
  }
  return CUDA_SUCCESS;
}

CUresult reset_persisting_cache() {
  Entry entry;
  return entry.with_context();
}

// Devices share one address space and every kernel may reach all of it, so this only keeps the
// rules: not for the context's own device, and not twice.
CUresult enable_peer_access(CUcontext peer, unsigned flags) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Context* other = runtime().contexts.find(handle_bits(peer));
  if (other == nullptr || other == &entry.context()) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  if (flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (other->device == entry.context().device) {
    return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  }
  auto& peers = entry.context().peers;
  if (std::find(peers.begin(), peers.end(), handle_bits(peer)) != peers.end()) {
    return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
  }
  peers.push_back(handle_bits(peer));
  return CUDA_SUCCESS;
}

CUresult disable_peer_access(CUcontext peer) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  auto& peers = entry.context().peers;
  const auto found = std::find(peers.begin(), peers.end(), handle_bits(peer));
  if (found == peers.end()) {
    return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
  }
  peers.erase(found);
  return CUDA_SUCCESS;
}

}  // namespace

void fill_context_calls(DriverTable& table) {
  table.cuCtxCreate = context_create;
  table.cuCtxDestroy = context_destroy;
  table.cuCtxPushCurrent = context_push;
  table.cuCtxPopCurrent = context_pop;
  table.cuCtxSetCurrent = context_set_current;
  table.cuCtxGetCurrent = context_get_current;
  table.cuCtxGetDevice = context_get_device;
  table.cuCtxGetFlags = context_get_flags;
  table.cuCtxSetFlags = context_set_flags;
  table.cuCtxGetId = context_get_id;
  table.cuCtxGetApiVersion = context_get_api_version;
  table.cuCtxSynchronize = context_synchronize;
  table.cuCtxSetLimit = context_set_limit;
  table.cuCtxGetLimit = context_get_limit;
  table.cuCtxGetCacheConfig = get_cache_config;
  table.cuCtxSetCacheConfig = set_cache_config;
  table.cuCtxGetSharedMemConfig = get_shared_config;
  table.cuCtxSetSharedMemConfig = set_shared_config;
  table.cuCtxGetStreamPriorityRange = get_priority_range;
  table.cuCtxResetPersistingL2Cache = reset_persisting_cache;
  table.cuCtxEnablePeerAccess = enable_peer_access;
  table.cuCtxDisablePeerAccess = disable_peer_access;
}

}  // namespace phos::sim
