// SPDX-License-Identifier: Apache-2.0
// Modules and libraries: loading, unloading, variables.
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "client/call.h"
#include "client/functions.h"
#include "client/images.h"
#include "client/memory_ranges.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

constexpr unsigned kMaxOptions = 64;
constexpr std::uint32_t kMaxLogBytes = 1400;

// The program's JIT options as they travel, and where its logs go.
struct JitOptions {
  std::uint32_t names[kMaxOptions];
  std::uint64_t values[kMaxOptions];
  unsigned count = 0;
  char* logs[2] = {nullptr, nullptr};  // info, error
  std::uint32_t log_bytes[2] = {0, 0};
  void** size_places[2] = {nullptr, nullptr};
};

CUresult read_options(unsigned count, const CUjit_option* options, void** values,
                      JitOptions* out) noexcept {
  if (count != 0 && (options == nullptr || values == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  if (count > kMaxOptions) return CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; i < count; ++i) {
    const std::uint64_t value = bits_of(values[i]);
    switch (options[i]) {
      case CU_JIT_INFO_LOG_BUFFER:
        out->logs[0] = static_cast<char*>(values[i]);
        continue;
      case CU_JIT_ERROR_LOG_BUFFER:
        out->logs[1] = static_cast<char*>(values[i]);
        continue;
      case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
        out->log_bytes[0] = static_cast<std::uint32_t>(value);
        out->size_places[0] = &values[i];
        continue;
      case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
        out->log_bytes[1] = static_cast<std::uint32_t>(value);
        out->size_places[1] = &values[i];
        continue;
      default:
        out->names[out->count] = static_cast<std::uint32_t>(options[i]);
        out->values[out->count] = value;
        ++out->count;
    }
  }
  return CUDA_SUCCESS;
}

// Puts a log where the program wanted it, with its NUL, and its length where the size stood.
void give_log(const JitOptions& options, int which, const char* text, std::size_t length) noexcept {
  if (options.logs[which] == nullptr || options.log_bytes[which] == 0) return;
  length = std::min<std::size_t>(length, options.log_bytes[which] - 1);
  memcpy(options.logs[which], text, length);
  options.logs[which][length] = '\0';
  if (options.size_places[which] != nullptr) {
    *options.size_places[which] = pointer_of<void*>(length);
  }
}

CUresult load_module(CUmodule* module, const void* image, JitOptions& options) noexcept {
  codec::Req_phos_module_load request{};
  if (const CUresult status = send_image(image, &request.image); status != CUDA_SUCCESS) {
    return status;
  }
  CUresult status = new_handle(HandleType::module, &request.module);
  if (status != CUDA_SUCCESS) return status;
  char info[kMaxLogBytes];
  char error[kMaxLogBytes];
  request.info_log_bytes = std::min(options.log_bytes[0], kMaxLogBytes);
  request.error_log_bytes = std::min(options.log_bytes[1], kMaxLogBytes);
  const Blob in[] = {{options.names, options.count * sizeof(options.names[0])},
                     {options.values, options.count * sizeof(options.values[0])}};
  OutBlob out[] = {{info, sizeof(info), 0}, {error, sizeof(error), 0}};
  codec::Rep_phos_module_load reply{};
  status = call_sync(CallId::phos_module_load, request, in, &reply, std::span<OutBlob>(out));
  give_log(options, 0, info, out[0].size);
  give_log(options, 1, error, out[1].size);
  if (status != CUDA_SUCCESS) {
    drop_handle(HandleType::module, request.module);
    return status;
  }
  *module = pointer_of<CUmodule>(request.module);
  return CUDA_SUCCESS;
}

CUresult load_library(CUlibrary* library, const void* image, const JitOptions& options,
                      unsigned count, const CUlibraryOption* names, void** values) noexcept {
  // Options without a value, as CU_LIBRARY_BINARY_IS_PRESERVED, may come without values: cuBLAS
  // gives none.
  if (count > kMaxOptions || (count != 0 && names == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  codec::Req_phos_library_load request{};
  if (const CUresult status = send_image(image, &request.image); status != CUDA_SUCCESS) {
    return status;
  }
  CUresult status = new_handle_under(HandleType::library, 0, &request.library);
  if (status != CUDA_SUCCESS) return status;
  std::uint32_t library_names[kMaxOptions];
  std::uint64_t library_values[kMaxOptions];
  for (unsigned i = 0; i < count; ++i) {
    library_names[i] = static_cast<std::uint32_t>(names[i]);
    library_values[i] = values == nullptr ? 0 : bits_of(values[i]);
  }
  const Blob in[] = {{options.names, options.count * sizeof(options.names[0])},
                     {options.values, options.count * sizeof(options.values[0])},
                     {library_names, count * sizeof(library_names[0])},
                     {library_values, count * sizeof(library_values[0])}};
  codec::Rep_phos_library_load reply{};
  status = call_sync(CallId::phos_library_load, request, in, &reply, {});
  if (status != CUDA_SUCCESS) {
    drop_handle(HandleType::library, request.library);
    return status;
  }
  *library = pointer_of<CUlibrary>(request.library);
  return CUDA_SUCCESS;
}

// Ends what was found by name in a module or library, before the thing itself goes.
void forget_symbols(HandleType type, std::uint64_t owner) noexcept {
  auto* table = object_of<SymbolTable>(type, owner);
  if (table != nullptr) {
    table->lock.lock();
    table->functions.clear();
    table->lock.unlock();
  }
  const auto nothing = [](std::uint64_t, HandleSlot&) {};
  handles_of(HandleType::function).remove_children(owner, nothing);
  handles_of(HandleType::kernel).remove_children(owner, nothing);
  forget_ranges_of_owner(owner);
}

// Remembers where a variable lies: copies are checked against it.
void note_variable(std::uint64_t address, std::uint64_t bytes, std::uint64_t owner) noexcept {
  MemoryRange range;
  range.base = address;
  range.bytes = bytes;
  range.kind = MemoryKind::variable;
  range.device = current_device();
  range.context = current_context();
  range.owner = owner;
  add_range(range);  // false where it is known already
}

template <class Req, class Rep>
CUresult find_variable(CallId call, Req& request, std::uint64_t owner, const char* name,
                       CUdeviceptr* address, size_t* bytes) noexcept {
  const Blob in[] = {{name, strlen(name) + 1}};
  Rep reply{};
  const CUresult status = call_sync(call, request, in, &reply, {});
  if (status != CUDA_SUCCESS) return status;
  note_variable(reply.dptr, reply.bytes, owner);
  if (address != nullptr) *address = reply.dptr;
  if (bytes != nullptr) *bytes = reply.bytes;
  return CUDA_SUCCESS;
}

}  // namespace

namespace impl {

CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned int numOptions,
                            CUjit_option* options, void** optionValues) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (module == nullptr || image == nullptr) return CUDA_ERROR_INVALID_VALUE;
  JitOptions read;
  const CUresult status = read_options(numOptions, options, optionValues, &read);
  return status != CUDA_SUCCESS ? status : load_module(module, image, read);
}

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  return impl::cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

CUresult cuModuleLoadFatBinary(CUmodule* module, const void* fatCubin) {
  return impl::cuModuleLoadDataEx(module, fatCubin, 0, nullptr, nullptr);
}

CUresult cuModuleLoad(CUmodule* module, const char* fname) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  void* image = nullptr;
  CUresult status = read_image_file(fname, &image);
  if (status != CUDA_SUCCESS) return status;
  status = impl::cuModuleLoadData(module, image);
  free(image);
  return status;
}

CUresult cuModuleUnload(CUmodule hmod) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  codec::Req_cuModuleUnload request{};
  codec::Rep_cuModuleUnload reply{};
  CUresult status = handle_arg(HandleType::module, bits_of(hmod), false, &request.hmod);
  if (status != CUDA_SUCCESS) return status;
  forget_symbols(HandleType::module, request.hmod);
  status = retire_handle(HandleType::module, bits_of(hmod), &request.hmod);
  return status != CUDA_SUCCESS ? status : ask(request, &reply);
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode* mode) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (mode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const char* setting = getenv("CUDA_MODULE_LOADING");
  const bool eager = setting != nullptr && strcmp(setting, "EAGER") == 0;
  *mode = eager ? CU_MODULE_EAGER_LOADING : CU_MODULE_LAZY_LOADING;
  return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal(CUdeviceptr* dptr, size_t* bytes, CUmodule hmod, const char* name) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (name == nullptr || (dptr == nullptr && bytes == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  codec::Req_cuModuleGetGlobal request{};
  const CUresult status = handle_arg(HandleType::module, bits_of(hmod), false, &request.hmod);
  if (status != CUDA_SUCCESS) return status;
  return find_variable<codec::Req_cuModuleGetGlobal, codec::Rep_cuModuleGetGlobal>(
      CallId::cuModuleGetGlobal, request, request.hmod, name, dptr, bytes);
}

CUresult cuLibraryLoadData(CUlibrary* library, const void* code, CUjit_option* jitOptions,
                           void** jitOptionsValues, unsigned int numJitOptions,
                           CUlibraryOption* libraryOptions, void** libraryOptionValues,
                           unsigned int numLibraryOptions) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (library == nullptr || code == nullptr) return CUDA_ERROR_INVALID_VALUE;
  JitOptions read;
  const CUresult status = read_options(numJitOptions, jitOptions, jitOptionsValues, &read);
  if (status != CUDA_SUCCESS) return status;
  return load_library(library, code, read, numLibraryOptions, libraryOptions,
                      libraryOptionValues);
}

CUresult cuLibraryLoadFromFile(CUlibrary* library, const char* fileName, CUjit_option* jitOptions,
                               void** jitOptionsValues, unsigned int numJitOptions,
                               CUlibraryOption* libraryOptions, void** libraryOptionValues,
                               unsigned int numLibraryOptions) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  void* image = nullptr;
  CUresult status = read_image_file(fileName, &image);
  if (status != CUDA_SUCCESS) return status;
  status = impl::cuLibraryLoadData(library, image, jitOptions, jitOptionsValues, numJitOptions,
                             libraryOptions, libraryOptionValues, numLibraryOptions);
  free(image);
  return status;
}

CUresult cuLibraryUnload(CUlibrary library) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  codec::Req_cuLibraryUnload request{};
  codec::Rep_cuLibraryUnload reply{};
  CUresult status = handle_arg(HandleType::library, bits_of(library), false, &request.library);
  if (status != CUDA_SUCCESS) return status;
  forget_symbols(HandleType::library, request.library);
  status = retire_handle(HandleType::library, bits_of(library), &request.library);
  return status != CUDA_SUCCESS ? status : ask(request, &reply);
}

CUresult cuLibraryGetGlobal(CUdeviceptr* dptr, size_t* bytes, CUlibrary library,
                            const char* name) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (name == nullptr || (dptr == nullptr && bytes == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  codec::Req_cuLibraryGetGlobal request{};
  const CUresult status =
      handle_arg(HandleType::library, bits_of(library), false, &request.library);
  if (status != CUDA_SUCCESS) return status;
  return find_variable<codec::Req_cuLibraryGetGlobal, codec::Rep_cuLibraryGetGlobal>(
      CallId::cuLibraryGetGlobal, request, request.library, name, dptr, bytes);
}

}  // namespace impl
}  // namespace phos::client
