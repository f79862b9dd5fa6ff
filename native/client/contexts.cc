// SPDX-License-Identifier: Apache-2.0
#include "client/contexts.h"

#include "client/call.h"
#include "client/memory_ranges.h"
#include "cudart-tables/tables.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

struct Primary {
  ring::FutexLock lock;
  std::uint64_t handle = 0;
  std::uint32_t references = 0;
};
constinit Primary g_primaries[kMaxDevices];
constinit std::atomic<unsigned long long> g_next_id{1};

constexpr unsigned kKnownFlags = 0xFF;

// Sends the destruction of everything that was made in the context and is still alive.
void destroy_contents(std::uint64_t context) noexcept {
  forget_ranges_of(context, [](const MemoryRange& range) {
    if (range.kind != MemoryKind::device) return;
    codec::Req_cuMemFree request{};
    request.dptr = range.base;
    tell(request);
  });
  handles_of(HandleType::module).remove_children(context, [](std::uint64_t handle, HandleSlot&) {
    handles_of(HandleType::function).remove_children(handle, [](std::uint64_t, HandleSlot&) {});
    codec::Req_cuModuleUnload request{};
    request.hmod = handle;
    codec::Rep_cuModuleUnload reply{};
    ask(request, &reply);
  });
  handles_of(HandleType::event).remove_children(context, [](std::uint64_t handle, HandleSlot&) {
    codec::Req_cuEventDestroy request{};
    request.hEvent = handle;
    tell(request);
  });
  handles_of(HandleType::stream).remove_children(context, [](std::uint64_t handle, HandleSlot&) {
    codec::Req_cuStreamDestroy request{};
    request.hStream = handle;
    tell(request);
  });
  handles_of(HandleType::array).remove_children(context, [](std::uint64_t handle, HandleSlot&) {
    codec::Req_cuArrayDestroy request{};
    request.hArray = handle;
    codec::Rep_cuArrayDestroy reply{};
    ask(request, &reply);
  });
}

void end_context(std::uint64_t context, ContextInfo* info) noexcept {
  // The runtime's storage first: its destructors may still call in.
  cudart_tables::drop_storage(pointer_of<CUcontext>(context));
  info->active.store(false);
  codec::Req_cuCtxSynchronize request{};
  codec::Rep_cuCtxSynchronize reply{};
  ask(request, &reply);
  destroy_contents(context);
}

CUresult find_primary(CUdevice device, Primary** primary) noexcept {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (device_facts(device) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  *primary = &g_primaries[device];
  return primary_context(device) == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

std::uint64_t make_context(CUdevice device, unsigned flags, bool primary) noexcept {
  std::uint64_t handle = 0;
  if (new_handle_under(HandleType::context, 0, &handle) != CUDA_SUCCESS) return 0;
  auto* info = object_of<ContextInfo>(HandleType::context, handle);
  if (info == nullptr) {
    drop_handle(HandleType::context, handle);
    return 0;
  }
  info->device = device;
  info->flags.store(flags);
  info->id = g_next_id.fetch_add(1);
  info->primary = primary;
  info->active.store(!primary);
  return handle;
}

// The info of a context parameter that may be 0 for the current one.
CUresult find_context(CUcontext context, ContextInfo** info) noexcept {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  const std::uint64_t handle = context == nullptr ? current_context() : bits_of(context);
  *info = context_info(handle);
  return *info == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

}  // namespace

ContextInfo* context_info(std::uint64_t context) noexcept {
  if (!is_handle(context) ||
      handle_type(context) != static_cast<std::uint8_t>(HandleType::context)) {
    return nullptr;
  }
  return object_of<ContextInfo>(HandleType::context, context);
}

std::uint64_t primary_context(CUdevice device) noexcept {
  if (device_facts(device) == nullptr) return 0;
  Primary& primary = g_primaries[device];
  primary.lock.lock();
  if (primary.handle == 0) primary.handle = make_context(device, 0, true);
  const std::uint64_t handle = primary.handle;
  primary.lock.unlock();
  return handle;
}

CUdevice current_device() noexcept {
  const ContextInfo* info = context_info(current_context());
  return info == nullptr ? 0 : info->device;
}

namespace impl {

CUresult cuDevicePrimaryCtxRetain(CUcontext* pctx, CUdevice dev) {
  Primary* primary = nullptr;
  if (pctx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult status = find_primary(dev, &primary); status != CUDA_SUCCESS) return status;
  primary->lock.lock();
  ++primary->references;
  context_info(primary->handle)->active.store(true);
  *pctx = pointer_of<CUcontext>(primary->handle);
  primary->lock.unlock();
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice dev) {
  Primary* primary = nullptr;
  if (const CUresult status = find_primary(dev, &primary); status != CUDA_SUCCESS) return status;
  primary->lock.lock();
  const bool was_active = primary->references > 0;
  const bool last = was_active && --primary->references == 0;
  const std::uint64_t handle = primary->handle;
  primary->lock.unlock();
  if (!was_active) return CUDA_ERROR_INVALID_CONTEXT;
  if (last) end_context(handle, context_info(handle));
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxReset(CUdevice dev) {
  Primary* primary = nullptr;
  if (const CUresult status = find_primary(dev, &primary); status != CUDA_SUCCESS) return status;
  primary->lock.lock();
  const bool was_active = primary->references > 0;
  primary->references = 0;
  const std::uint64_t handle = primary->handle;
  primary->lock.unlock();
  if (was_active) end_context(handle, context_info(handle));
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags) {
  Primary* primary = nullptr;
  if (const CUresult status = find_primary(dev, &primary); status != CUDA_SUCCESS) return status;
  if ((flags & ~kKnownFlags) != 0) return CUDA_ERROR_INVALID_VALUE;
  context_info(primary->handle)->flags.store(flags);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int* flags, int* active) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (device_facts(dev) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (flags == nullptr || active == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const ContextInfo* info = context_info(g_primaries[dev].handle);
  *flags = info == nullptr ? 0 : info->flags.load();
  *active = info != nullptr && info->active.load() ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult cuCtxCreate(CUcontext* pctx, CUctxCreateParams* ctxCreateParams, unsigned int flags,
                     CUdevice dev) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (device_facts(dev) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (pctx == nullptr || (flags & ~kKnownFlags) != 0) return CUDA_ERROR_INVALID_VALUE;
  // Execution affinity and the like split a device, which one context for each client cannot do.
  if (ctxCreateParams != nullptr && (ctxCreateParams->numExecAffinityParams != 0 ||
                                     ctxCreateParams->cigParams != nullptr)) {
    return report_unsupported(CallId::cuCtxCreate);
  }
  const std::uint64_t handle = make_context(dev, flags, false);
  if (handle == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  ThreadState& thread = this_thread();
  if (thread.current != 0) thread.below.push_back(thread.current);
  thread.current = handle;
  *pctx = pointer_of<CUcontext>(handle);
  return CUDA_SUCCESS;
}

CUresult cuCtxDestroy(CUcontext ctx) {
  ContextInfo* info = nullptr;
  if (ctx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult status = find_context(ctx, &info); status != CUDA_SUCCESS) return status;
  if (info->primary) return CUDA_ERROR_INVALID_CONTEXT;
  end_context(bits_of(ctx), info);
  drop_handle(HandleType::context, bits_of(ctx));
  ThreadState& thread = this_thread();
  if (thread.current == bits_of(ctx)) {
    thread.current = thread.below.empty() ? 0 : thread.below.back();
    if (!thread.below.empty()) thread.below.pop_back();
  }
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext ctx) {
  ContextInfo* info = nullptr;
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (ctx == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (const CUresult status = find_context(ctx, &info); status != CUDA_SUCCESS) return status;
  ThreadState& thread = this_thread();
  if (thread.current != 0) thread.below.push_back(thread.current);
  thread.current = bits_of(ctx);
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext* pctx) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  ThreadState& thread = this_thread();
  if (thread.current == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (pctx != nullptr) *pctx = pointer_of<CUcontext>(thread.current);
  thread.current = thread.below.empty() ? 0 : thread.below.back();
  if (!thread.below.empty()) thread.below.pop_back();
  return CUDA_SUCCESS;
}

// Replaces the top of the stack; 0 takes it away.
CUresult cuCtxSetCurrent(CUcontext ctx) {
  ThreadState& thread = this_thread();
  if (ctx != nullptr) {
    if (bits_of(ctx) == thread.current && is_ready()) return CUDA_SUCCESS;
    ContextInfo* info = nullptr;
    if (const CUresult status = find_context(ctx, &info); status != CUDA_SUCCESS) return status;
    thread.current = bits_of(ctx);
    return CUDA_SUCCESS;
  }
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  thread.current = thread.below.empty() ? 0 : thread.below.back();
  if (!thread.below.empty()) thread.below.pop_back();
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* pctx) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (pctx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pctx = pointer_of<CUcontext>(current_context());
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice* device, CUcontext ctx) {
  ContextInfo* info = nullptr;
  if (const CUresult status = find_context(ctx, &info); status != CUDA_SUCCESS) return status;
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *device = info->device;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetFlags(unsigned int* flags) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = context_info(current_context())->flags.load();
  return CUDA_SUCCESS;
}

CUresult cuCtxSetFlags(unsigned int flags) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if ((flags & ~kKnownFlags) != 0) return CUDA_ERROR_INVALID_VALUE;
  context_info(current_context())->flags.store(flags);
  return CUDA_SUCCESS;
}

CUresult cuCtxGetId(CUcontext ctx, unsigned long long* ctxId) {
  ContextInfo* info = nullptr;
  if (const CUresult status = find_context(ctx, &info); status != CUDA_SUCCESS) return status;
  if (ctxId == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *ctxId = info->id;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext ctx, unsigned int* version) {
  ContextInfo* info = nullptr;
  if (const CUresult status = find_context(ctx, &info); status != CUDA_SUCCESS) return status;
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *version = 3020;  // the API version of contexts since CUDA 3.2
  return CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int* leastPriority, int* greatestPriority) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  const DeviceFacts* facts = device_facts(current_device());
  if (leastPriority != nullptr) *leastPriority = facts->least_priority;
  if (greatestPriority != nullptr) *greatestPriority = facts->greatest_priority;
  return CUDA_SUCCESS;
}

}  // namespace impl
}  // namespace phos::client
