// SPDX-License-Identifier: Apache-2.0
// Primary contexts: one for each device, counted, shared by all users of the process.
#include "drivers/sim/calls.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

CUresult primary_retain(CUcontext* out, CUdevice ordinal) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Device* device = find_device(ordinal);
  if (device == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  Runtime& all = runtime();
  if (device->primary_context == 0) {
    device->primary_context = all.create_context(*device, device->primary_flags, true)->handle;
  }
  Context& context = *all.contexts.find(device->primary_context);
  context.active = true;
  context.flags = device->primary_flags;
  ++device->primary_references;
  *out = as_handle<CUcontext>(device->primary_context);
  return CUDA_SUCCESS;
}

CUresult primary_release(CUdevice ordinal) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Device* device = find_device(ordinal);
  if (device == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  if (device->primary_references == 0) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  if (--device->primary_references == 0) {
    runtime().destroy_context(entry.guard(), *runtime().contexts.find(device->primary_context));
  }
  return CUDA_SUCCESS;
}

CUresult primary_reset(CUdevice ordinal) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Device* device = find_device(ordinal);
  if (device == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  Context* context = runtime().contexts.find(device->primary_context);
  if (context != nullptr && context->active) {
    runtime().destroy_context(entry.guard(), *context);
    context->active = device->primary_references != 0;
  }
  return CUDA_SUCCESS;
}

CUresult primary_set_flags(CUdevice ordinal, unsigned flags) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Device* device = find_device(ordinal);
  if (device == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  if ((flags & ~kKnownContextFlags) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  device->primary_flags = flags;
  if (Context* context = runtime().contexts.find(device->primary_context)) {
    context->flags = flags;
  }
  return CUDA_SUCCESS;
}

CUresult primary_get_state(CUdevice ordinal, unsigned* flags, int* active) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Device* device = find_device(ordinal);
  if (device == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  if (flags != nullptr) {
    *flags = device->primary_flags;
  }
  if (active != nullptr) {
    const Context* context = runtime().contexts.find(device->primary_context);
    *active = context != nullptr && context->active ? 1 : 0;
  }
  return CUDA_SUCCESS;
}

}  // namespace

void fill_primary_context_calls(DriverTable& table) {
  table.cuDevicePrimaryCtxRetain = primary_retain;
  table.cuDevicePrimaryCtxRelease = primary_release;
  table.cuDevicePrimaryCtxReset = primary_reset;
  table.cuDevicePrimaryCtxSetFlags = primary_set_flags;
  table.cuDevicePrimaryCtxGetState = primary_get_state;
}

}  // namespace phos::sim
