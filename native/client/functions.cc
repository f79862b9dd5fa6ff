// SPDX-License-Identifier: Apache-2.0
// Functions and kernels: found by name, with their facts, and asked about.
#include "client/functions.h"

#include <limits.h>
#include <string.h>

#include "client/call.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

constexpr std::uint32_t kMaxParameters = 450;

// Facts as they come in the reply of phos_module_function and phos_library_kernel.
struct Facts {
  std::int32_t attributes[kFunctionAttributes];
  Parameter parameters[kMaxParameters];
  OutBlob blobs[2];
  Facts() noexcept
      : blobs{{attributes, sizeof(attributes), 0}, {parameters, sizeof(parameters), 0}} {
    for (auto& attribute : attributes) attribute = INT_MIN;
  }
};

void fill(FunctionInfo& info, const Facts& facts, const char* name, std::uint64_t owner) {
  info.name = name;
  info.owner = owner;
  info.function.store(0);
  info.cooperative_key.store(0);
  const std::size_t count = facts.blobs[1].size / sizeof(Parameter);
  info.parameters.assign(facts.parameters, facts.parameters + count);
  info.parameter_bytes = 0;
  for (const Parameter& parameter : info.parameters) {
    const std::uint32_t end = parameter.offset + parameter.bytes;
    if (end > info.parameter_bytes) info.parameter_bytes = end;
  }
  for (std::uint32_t i = 0; i < kFunctionAttributes; ++i) {
    info.attributes[i].store(facts.attributes[i]);
  }
}

CUresult ask_function(std::uint64_t module, const char* name, std::uint64_t handle, Facts& facts) {
  codec::Req_phos_module_function request{};
  request.function = handle;
  request.module = module;
  request.attribute_count = kFunctionAttributes;
  const Blob in[] = {{name, strlen(name) + 1}};
  codec::Rep_phos_module_function reply{};
  return call_sync(CallId::phos_module_function, request, in, &reply,
                   std::span<OutBlob>(facts.blobs));
}

CUresult ask_kernel(std::uint64_t library, const char* name, std::uint64_t handle, Facts& facts) {
  codec::Req_phos_library_kernel request{};
  request.kernel = handle;
  request.library = library;
  request.attribute_count = kFunctionAttributes;
  const Blob in[] = {{name, strlen(name) + 1}};
  codec::Rep_phos_library_kernel reply{};
  return call_sync(CallId::phos_library_kernel, request, in, &reply,
                   std::span<OutBlob>(facts.blobs));
}

// The handle for a name, from the owner's table or from the executor.
CUresult find_symbol(HandleType owner_type, std::uint64_t owner, HandleType type, const char* name,
                     std::uint64_t* handle) noexcept {
  auto* table = object_of<SymbolTable>(owner_type, owner);
  if (table == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  table->lock.lock();
  const auto known = table->functions.find(name);
  if (known != table->functions.end()) {
    *handle = known->second;
    table->lock.unlock();
    return CUDA_SUCCESS;
  }
  Facts facts;
  CUresult status = new_handle_under(type, owner, handle);
  if (status == CUDA_SUCCESS) {
    status = type == HandleType::kernel ? ask_kernel(owner, name, *handle, facts)
                                        : ask_function(owner, name, *handle, facts);
    auto* info = object_of<FunctionInfo>(type, *handle);
    if (status == CUDA_SUCCESS && info == nullptr) status = CUDA_ERROR_OUT_OF_MEMORY;
    if (status == CUDA_SUCCESS) {
      fill(*info, facts, name, owner);
      table->functions.emplace(name, *handle);
    } else {
      drop_handle(type, *handle);
    }
  }
  table->lock.unlock();
  return status;
}

CUresult find_info(HandleType type, std::uint64_t handle, FunctionInfo** info) noexcept {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  std::uint64_t wire = 0;
  const CUresult status = handle_arg(type, handle, false, &wire);
  if (status != CUDA_SUCCESS) return status;
  *info = function_info(wire);
  return *info == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult get_attribute(const FunctionInfo& info, CUfunction_attribute attribute,
                       int* value) noexcept {
  const auto index = static_cast<std::uint32_t>(attribute);
  if (value == nullptr || index >= kFunctionAttributes) return CUDA_ERROR_INVALID_VALUE;
  if (info.attribute(attribute) == INT_MIN) return CUDA_ERROR_INVALID_VALUE;
  *value = info.attribute(attribute);
  return CUDA_SUCCESS;
}

CUresult parameter_info(const FunctionInfo& info, size_t index, size_t* offset,
                        size_t* bytes) noexcept {
  if (offset == nullptr || index >= info.parameters.size()) return CUDA_ERROR_INVALID_VALUE;
  *offset = info.parameters[index].offset;
  if (bytes != nullptr) *bytes = info.parameters[index].bytes;
  return CUDA_SUCCESS;
}

// True where the attribute has the value already: programs set it before every launch.
bool has_value(const FunctionInfo& info, CUfunction_attribute attribute, int value) noexcept {
  return static_cast<std::uint32_t>(attribute) < kFunctionAttributes &&
         info.attribute(attribute) == value;
}

void note_value(FunctionInfo& info, CUfunction_attribute attribute, int value) noexcept {
  if (static_cast<std::uint32_t>(attribute) < kFunctionAttributes) {
    info.attributes[attribute].store(value);
  }
  info.cooperative_key.store(0);
}

}  // namespace

FunctionInfo* function_info(std::uint64_t handle) noexcept {
  if (!is_handle(handle)) return nullptr;
  const auto type = static_cast<HandleType>(handle_type(handle));
  if (type != HandleType::function && type != HandleType::kernel) return nullptr;
  return object_of<FunctionInfo>(type, handle);
}

namespace impl {

CUresult cuModuleGetFunction(CUfunction* hfunc, CUmodule hmod, const char* name) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (hfunc == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::uint64_t module = 0;
  std::uint64_t handle = 0;
  CUresult status = handle_arg(HandleType::module, bits_of(hmod), false, &module);
  if (status == CUDA_SUCCESS) {
    status = find_symbol(HandleType::module, module, HandleType::function, name, &handle);
  }
  if (status == CUDA_SUCCESS) *hfunc = pointer_of<CUfunction>(handle);
  return status;
}

CUresult cuLibraryGetKernel(CUkernel* pKernel, CUlibrary library, const char* name) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (pKernel == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::uint64_t owner = 0;
  std::uint64_t handle = 0;
  CUresult status = handle_arg(HandleType::library, bits_of(library), false, &owner);
  if (status == CUDA_SUCCESS) {
    status = find_symbol(HandleType::library, owner, HandleType::kernel, name, &handle);
  }
  if (status == CUDA_SUCCESS) *pKernel = pointer_of<CUkernel>(handle);
  return status;
}

CUresult cuKernelGetFunction(CUfunction* pFunc, CUkernel kernel) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  FunctionInfo* info = nullptr;
  if (pFunc == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = find_info(HandleType::kernel, bits_of(kernel), &info);
  if (status != CUDA_SUCCESS) return status;
  const std::uint64_t known = info->function.load();
  if (handles_of(HandleType::function).find(known) != nullptr) {
    *pFunc = pointer_of<CUfunction>(known);
    return CUDA_SUCCESS;
  }
  codec::Req_cuKernelGetFunction request{};
  codec::Rep_cuKernelGetFunction reply{};
  request.kernel = bits_of(kernel);
  status = new_handle_under(HandleType::function, info->owner, &request.pFunc);
  if (status != CUDA_SUCCESS) return status;
  auto* copy = object_of<FunctionInfo>(HandleType::function, request.pFunc);
  status = copy == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : ask(request, &reply);
  if (status != CUDA_SUCCESS) {
    drop_handle(HandleType::function, request.pFunc);
    return status;
  }
  copy->name = info->name;
  copy->parameters = info->parameters;
  copy->parameter_bytes = info->parameter_bytes;
  copy->owner = info->owner;
  copy->cooperative_key.store(0);
  for (std::uint32_t i = 0; i < kFunctionAttributes; ++i) {
    copy->attributes[i].store(info->attributes[i].load());
  }
  info->function.store(request.pFunc);
  *pFunc = pointer_of<CUfunction>(request.pFunc);
  return CUDA_SUCCESS;
}

CUresult cuKernelGetLibrary(CUlibrary* pLib, CUkernel kernel) {
  FunctionInfo* info = nullptr;
  if (pLib == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUresult status = find_info(HandleType::kernel, bits_of(kernel), &info);
  if (status == CUDA_SUCCESS) *pLib = pointer_of<CUlibrary>(info->owner);
  return status;
}

CUresult cuKernelGetAttribute(int* pi, CUfunction_attribute attrib, CUkernel kernel, CUdevice dev) {
  FunctionInfo* info = nullptr;
  const CUresult status = find_info(HandleType::kernel, bits_of(kernel), &info);
  if (status != CUDA_SUCCESS) return status;
  if (device_facts(dev) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  return get_attribute(*info, attrib, pi);
}

CUresult cuKernelSetAttribute(CUfunction_attribute attrib, int val, CUkernel kernel, CUdevice dev) {
  FunctionInfo* info = nullptr;
  CUresult status = find_info(HandleType::kernel, bits_of(kernel), &info);
  if (status != CUDA_SUCCESS) return status;
  if (device_facts(dev) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
  if (has_value(*info, attrib, val)) return CUDA_SUCCESS;
  codec::Req_cuKernelSetAttribute request{};
  codec::Rep_cuKernelSetAttribute reply{};
  request.attrib = static_cast<std::uint32_t>(attrib);
  request.val = val;
  request.kernel = bits_of(kernel);
  request.dev = static_cast<std::uint64_t>(dev);
  status = ask(request, &reply);
  if (status != CUDA_SUCCESS) return status;
  note_value(*info, attrib, val);
  FunctionInfo* function = function_info(info->function.load());
  if (function != nullptr) note_value(*function, attrib, val);
  return CUDA_SUCCESS;
}

CUresult cuKernelGetName(const char** name, CUkernel hfunc) {
  FunctionInfo* info = nullptr;
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUresult status = find_info(HandleType::kernel, bits_of(hfunc), &info);
  if (status == CUDA_SUCCESS) *name = info->name.c_str();
  return status;
}

CUresult cuKernelGetParamInfo(CUkernel kernel, size_t paramIndex, size_t* paramOffset,
                              size_t* paramSize) {
  FunctionInfo* info = nullptr;
  const CUresult status = find_info(HandleType::kernel, bits_of(kernel), &info);
  if (status != CUDA_SUCCESS) return status;
  return parameter_info(*info, paramIndex, paramOffset, paramSize);
}

CUresult cuFuncGetAttribute(int* pi, CUfunction_attribute attrib, CUfunction hfunc) {
  FunctionInfo* info = nullptr;
  const CUresult status = find_info(HandleType::function, bits_of(hfunc), &info);
  return status != CUDA_SUCCESS ? status : get_attribute(*info, attrib, pi);
}

CUresult cuFuncSetAttribute(CUfunction hfunc, CUfunction_attribute attrib, int value) {
  FunctionInfo* info = nullptr;
  CUresult status = find_info(HandleType::function, bits_of(hfunc), &info);
  if (status != CUDA_SUCCESS || has_value(*info, attrib, value)) return status;
  codec::Req_cuFuncSetAttribute request{};
  codec::Rep_cuFuncSetAttribute reply{};
  request.hfunc = bits_of(hfunc);
  request.attrib = static_cast<std::uint32_t>(attrib);
  request.value = value;
  status = ask(request, &reply);
  if (status == CUDA_SUCCESS) note_value(*info, attrib, value);
  return status;
}

CUresult cuFuncGetModule(CUmodule* hmod, CUfunction hfunc) {
  FunctionInfo* info = nullptr;
  if (hmod == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUresult status = find_info(HandleType::function, bits_of(hfunc), &info);
  if (status != CUDA_SUCCESS) return status;
  // A kernel's function belongs to a module of its library that has no handle here.
  if (handle_type(info->owner) != static_cast<std::uint8_t>(HandleType::module)) {
    return report_unsupported(CallId::cuFuncGetModule);
  }
  *hmod = pointer_of<CUmodule>(info->owner);
  return CUDA_SUCCESS;
}

CUresult cuFuncGetName(const char** name, CUfunction hfunc) {
  FunctionInfo* info = nullptr;
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUresult status = find_info(HandleType::function, bits_of(hfunc), &info);
  if (status == CUDA_SUCCESS) *name = info->name.c_str();
  return status;
}

CUresult cuFuncGetParamInfo(CUfunction func, size_t paramIndex, size_t* paramOffset,
                            size_t* paramSize) {
  FunctionInfo* info = nullptr;
  const CUresult status = find_info(HandleType::function, bits_of(func), &info);
  if (status != CUDA_SUCCESS) return status;
  return parameter_info(*info, paramIndex, paramOffset, paramSize);
}

}  // namespace impl
}  // namespace phos::client
