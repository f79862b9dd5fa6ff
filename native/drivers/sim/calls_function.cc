// SPDX-License-Identifier: Apache-2.0
// Functions of modules and kernels of libraries: attributes, names, parameters.
#include <algorithm>

#include "drivers/sim/calls.h"
#include "drivers/sim/device_facts.h"
#include "drivers/sim/launch.h"
#include "drivers/sim/module.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

CUresult enter(Entry& entry, CUfunction handle, const void* out, std::shared_ptr<Module>& module,
               Function** function) {
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return resolve_function(entry.context(), handle, module, function);
}

int most_threads(const ptx::KernelInfo& info) {
  const std::uint64_t per_warp =
      (std::uint64_t{std::max(info.registers, 1U)} * kWarp + kRegisterUnit - 1) / kRegisterUnit *
      kRegisterUnit;
  const std::uint64_t by_registers =
      kRegistersPerMultiprocessor / per_warp / kWarpUnit * kWarpUnit * kWarp;
  return static_cast<int>(
      std::min<std::uint64_t>({info.max_threads, kMaxThreadsPerBlock, by_registers}));
}

CUresult read_attribute(const Function& function, CUfunction_attribute attribute, int* value) {
  const ptx::KernelInfo& info = *function.info;
  const FunctionSettings& settings = function.settings;
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = most_threads(info);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = static_cast<int>(info.static_shared_bytes);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
      *value = 0;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      *value = static_cast<int>(info.local_bytes);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *value = static_cast<int>(info.registers);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = kMajor * 10 + kMinor;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
    case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET:
      *value = 0;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = static_cast<int>(dynamic_limit(function));
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      *value = settings.carveout;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
      *value = settings.cluster[attribute - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH];
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
      *value = settings.non_portable_cluster;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
      *value = settings.cluster_policy;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

// What only a program may set; everything else is a fact. `static_bytes` is the part of shared
// memory that the kernel has already.
CUresult write_attribute(FunctionSettings& settings, std::uint32_t static_bytes,
                         CUfunction_attribute attribute, int value) {
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      if (value < 0 ||
          static_cast<std::int64_t>(value) + static_bytes > kSharedPerBlockOptIn) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      settings.max_dynamic_shared = value;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      if (value < -1 || value > 100) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      settings.carveout = value;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
      settings.non_portable_cluster = value;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
      settings.cluster_policy = value;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
      return CUDA_ERROR_NOT_SUPPORTED;  // no clusters on 8.6
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult func_get_attribute(int* value, CUfunction_attribute attribute, CUfunction handle) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  const CUresult result = enter(entry, handle, value, module, &function);
  return result != CUDA_SUCCESS ? result : read_attribute(*function, attribute, value);
}

// A kernel that is used as a function keeps its settings itself.
FunctionSettings& settings_of(CUfunction handle, Function& function) {
  Kernel* kernel = runtime().kernels.find(handle_bits(handle));
  return kernel == nullptr ? function.settings : kernel->settings;
}

CUresult func_set_attribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  if (const CUresult result = enter(entry, handle, &value, module, &function);
      result != CUDA_SUCCESS) {
    return result;
  }
  return write_attribute(settings_of(handle, *function), function->info->static_shared_bytes,
                         attribute, value);
}

CUresult func_set_cache_config(CUfunction handle, CUfunc_cache config) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  const CUresult result = enter(entry, handle, &config, module, &function);
  if (result == CUDA_SUCCESS) {
    settings_of(handle, *function).cache_config = config;
  }
  return result;
}

CUresult func_set_shared_config(CUfunction handle, CUsharedconfig config) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  return enter(entry, handle, &config, module, &function);
}

CUresult func_get_module(CUmodule* out, CUfunction handle) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  const CUresult result = enter(entry, handle, out, module, &function);
  if (result == CUDA_SUCCESS) {
    *out = as_handle<CUmodule>(module->handle);
  }
  return result;
}

CUresult func_get_name(const char** name, CUfunction handle) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  const CUresult result = enter(entry, handle, name, module, &function);
  if (result == CUDA_SUCCESS) {
    *name = function->info->name.c_str();
  }
  return result;
}

CUresult put_parameter(const std::uint32_t* offset, std::uint32_t bytes, std::size_t* out_offset,
                       std::size_t* out_bytes) {
  *out_offset = *offset;
  if (out_bytes != nullptr) {
    *out_bytes = bytes;
  }
  return CUDA_SUCCESS;
}

CUresult func_get_param_info(CUfunction handle, std::size_t index, std::size_t* offset,
                             std::size_t* bytes) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  if (const CUresult result = enter(entry, handle, offset, module, &function);
      result != CUDA_SUCCESS) {
    return result;
  }
  const auto& list = function->info->parameters;
  return index >= list.size() ? CUDA_ERROR_INVALID_VALUE
                              : put_parameter(&list[index].offset, list[index].bytes, offset,
                                              bytes);
}

CUresult func_is_loaded(CUfunctionLoadingState* state, CUfunction handle) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  const CUresult result = enter(entry, handle, state, module, &function);
  if (result == CUDA_SUCCESS) {
    *state = CU_FUNCTION_LOADING_STATE_LOADED;
  }
  return result;
}

CUresult func_load(CUfunction handle) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  return enter(entry, handle, &entry, module, &function);
}

CUresult enter_kernel(Entry& entry, CUkernel handle, const void* out, Kernel** kernel) {
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *kernel = runtime().kernels.find(handle_bits(handle));
  return *kernel == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult kernel_get_function(CUfunction* out, CUkernel handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Kernel* kernel = nullptr;
  if (const CUresult result = enter_kernel(entry, handle, out, &kernel);
      result != CUDA_SUCCESS) {
    return result;
  }
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  const CUresult result = resolve_function(
      entry.context(), as_handle<CUfunction>(handle_bits(handle)), module, &function);
  if (result == CUDA_SUCCESS) {
    *out = as_handle<CUfunction>(function->handle);
  }
  return result;
}

CUresult kernel_get_library(CUlibrary* out, CUkernel handle) {
  Entry entry;
  Kernel* kernel = nullptr;
  const CUresult result = enter_kernel(entry, handle, out, &kernel);
  if (result == CUDA_SUCCESS) {
    *out = as_handle<CUlibrary>(kernel->library->handle);
  }
  return result;
}

CUresult kernel_get_name(const char** name, CUkernel handle) {
  if (handle_kind(handle_bits(handle)) == static_cast<std::uint8_t>(HandleKind::function)) {
    return func_get_name(name, as_handle<CUfunction>(handle_bits(handle)));
  }
  Entry entry;
  Kernel* kernel = nullptr;
  const CUresult result = enter_kernel(entry, handle, name, &kernel);
  if (result == CUDA_SUCCESS) {
    *name = kernel->name.c_str();
  }
  return result;
}

CUresult kernel_get_param_info(CUkernel handle, std::size_t index, std::size_t* offset,
                               std::size_t* bytes) {
  Entry entry;
  Kernel* kernel = nullptr;
  if (const CUresult result = enter_kernel(entry, handle, offset, &kernel);
      result != CUDA_SUCCESS) {
    return result;
  }
  const auto& list = kernel->description->parameters;
  return index >= list.size() ? CUDA_ERROR_INVALID_VALUE
                              : put_parameter(&list[index].offset, list[index].bytes, offset,
                                              bytes);
}

// A context to look a kernel's facts up in: the current one if it is on this device, else the
// primary context of the device.
CUresult kernel_get_attribute(int* value, CUfunction_attribute attribute, CUkernel handle,
                              CUdevice device) {
  Entry entry;
  Kernel* kernel = nullptr;
  if (const CUresult result = enter_kernel(entry, handle, value, &kernel);
      result != CUDA_SUCCESS) {
    return result;
  }
  Device* on = find_device(device);
  if (on == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  Context* context = nullptr;
  if (entry.with_context() == CUDA_SUCCESS && entry.context().device == on) {
    context = &entry.context();
  } else {
    context = runtime().contexts.find(on->primary_context);
  }
  if (context == nullptr || !context->active) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  const CUresult result = resolve_function(
      *context, as_handle<CUfunction>(handle_bits(handle)), module, &function);
  return result != CUDA_SUCCESS ? result : read_attribute(*function, attribute, value);
}

CUresult kernel_set_attribute(CUfunction_attribute attribute, int value, CUkernel handle,
                              CUdevice device) {
  Entry entry;
  Kernel* kernel = nullptr;
  if (const CUresult result = enter_kernel(entry, handle, &value, &kernel);
      result != CUDA_SUCCESS) {
    return result;
  }
  if (find_device(device) == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  const std::int32_t known = kernel->description->static_shared_bytes;
  return write_attribute(kernel->settings, static_cast<std::uint32_t>(std::max(known, 0)),
                         attribute, value);
}

CUresult kernel_set_cache_config(CUkernel handle, CUfunc_cache config, CUdevice device) {
  Entry entry;
  Kernel* kernel = nullptr;
  if (const CUresult result = enter_kernel(entry, handle, &config, &kernel);
      result != CUDA_SUCCESS) {
    return result;
  }
  if (find_device(device) == nullptr) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  kernel->settings.cache_config = config;
  return CUDA_SUCCESS;
}

}  // namespace

void fill_function_calls(DriverTable& table) {
  table.cuFuncGetAttribute = func_get_attribute;
  table.cuFuncSetAttribute = func_set_attribute;
  table.cuFuncSetCacheConfig = func_set_cache_config;
  table.cuFuncSetSharedMemConfig = func_set_shared_config;
  table.cuFuncGetModule = func_get_module;
  table.cuFuncGetName = func_get_name;
  table.cuFuncGetParamInfo = func_get_param_info;
  table.cuFuncIsLoaded = func_is_loaded;
  table.cuFuncLoad = func_load;
  table.cuKernelGetFunction = kernel_get_function;
  table.cuKernelGetLibrary = kernel_get_library;
  table.cuKernelGetName = kernel_get_name;
  table.cuKernelGetParamInfo = kernel_get_param_info;
  table.cuKernelGetAttribute = kernel_get_attribute;
  table.cuKernelSetAttribute = kernel_set_attribute;
  table.cuKernelSetCacheConfig = kernel_set_cache_config;
}

}  // namespace phos::sim
