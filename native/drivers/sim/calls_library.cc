// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <string_view>

#include "code-images/image.h"
#include "code-images/ptx_scan.h"
#include "drivers/sim/calls.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/module.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

// Names and parameters of the kernels, before any context has an instance.
CUresult describe(Library& library) {
  for (const std::string& text : library.texts) {
    auto part = code_images::describe_ptx(text);
    if (!part.ok()) {
      return CUDA_ERROR_INVALID_PTX;
    }
    auto& into = library.description;
    auto& from = part.value();
    into.kernels.insert(into.kernels.end(), from.kernels.begin(), from.kernels.end());
    into.variables.insert(into.variables.end(), from.variables.begin(), from.variables.end());
  }
  for (const auto& kernel : library.description.kernels) {
    library.by_name.emplace(kernel.name, &kernel);
  }
  return CUDA_SUCCESS;
}

bool loads_eagerly() noexcept {
  static const bool eager = [] {
    const char* const loading = std::getenv("CUDA_MODULE_LOADING");
    return loading != nullptr && std::string_view(loading) == "EAGER";
  }();
  return eager;
}

CUresult load_data(CUlibrary* out, const void* image, CUjit_option* /*options*/,
                   void** /*values*/, unsigned /*count*/, CUlibraryOption* /*library_options*/,
                   void** /*library_values*/, unsigned /*library_count*/) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || image == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto library = std::make_shared<Library>();
  CUresult result = read_texts(image, library->texts);
  if (result == CUDA_SUCCESS) {
    result = describe(*library);
  }
  if (result == CUDA_SUCCESS) {
    result = place_managed(*library);
  }
  // As hardware does by default, variables are placed when something of the library is used first.
  const bool has_context = loads_eagerly() && entry.with_context() == CUDA_SUCCESS;
  if (result == CUDA_SUCCESS && has_context) {
    Module* module = nullptr;
    result = instance_of(entry.context(), *library, &module);
  }
  if (result != CUDA_SUCCESS) {
    forget_managed(*library);
    return result;
  }
  library->handle = runtime().libraries.add(library);
  *out = as_handle<CUlibrary>(library->handle);
  return CUDA_SUCCESS;
}

CUresult load_file(CUlibrary* out, const char* path, CUjit_option* options, void** values,
                   unsigned count, CUlibraryOption* library_options, void** library_values,
                   unsigned library_count) {
  if (out == nullptr || path == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::vector<std::uint8_t> bytes;
  if (const CUresult result = read_file(path, bytes); result != CUDA_SUCCESS) {
    return result;
  }
  const auto image = code_images::LoadableImage::from_flat(bytes);
  if (!image.ok()) {
    return CUDA_ERROR_INVALID_IMAGE;
  }
  return load_data(out, image.value().data(), options, values, count, library_options,
                   library_values, library_count);
}

CUresult unload(CUlibrary handle) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Runtime& all = runtime();
  const std::shared_ptr<Library> library = all.libraries.share(handle_bits(handle));
  if (!library) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  settle(entry);
  if (!all.libraries.remove(handle_bits(handle))) {
    return CUDA_ERROR_INVALID_HANDLE;  // another thread was faster
  }
  std::vector<std::shared_ptr<Module>> instances;
  all.contexts.for_each([&](const std::shared_ptr<Context>& context) {
    const auto found = context->instances.find(library.get());
    if (found != context->instances.end()) {
      instances.push_back(found->second);
      context->instances.erase(found);
    }
  });
  for (const auto& module : instances) {
    forget_module(all, *module);
  }
  forget_managed(*library);
  for (const auto& [name, kernel] : library->kernels) {
    all.kernels.remove(kernel->handle);
  }
  return CUDA_SUCCESS;
}

CUresult enter(Entry& entry, CUlibrary handle, const void* out, Library** library) {
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *library = runtime().libraries.find(handle_bits(handle));
  return *library == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

Kernel* kernel_of(Library& library, const code_images::KernelDescription& description) {
  auto& kernel = library.kernels[description.name];
  if (!kernel) {
    kernel = std::make_shared<Kernel>();
    kernel->library = &library;
    kernel->name = description.name;
    kernel->description = &description;
    kernel->handle = runtime().kernels.add(kernel);
  }
  return kernel.get();
}

CUresult get_kernel(CUkernel* out, CUlibrary handle, const char* name) {
  Entry entry;
  Library* library = nullptr;
  if (const CUresult result = enter(entry, handle, out, &library); result != CUDA_SUCCESS) {
    return result;
  }
  if (name == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto found = library->by_name.find(name);
  if (found == library->by_name.end()) {
    return CUDA_ERROR_NOT_FOUND;
  }
  *out = as_handle<CUkernel>(kernel_of(*library, *found->second)->handle);
  return CUDA_SUCCESS;
}

CUresult get_kernel_count(unsigned* count, CUlibrary handle) {
  Entry entry;
  Library* library = nullptr;
  const CUresult result = enter(entry, handle, count, &library);
  if (result == CUDA_SUCCESS) {
    *count = static_cast<unsigned>(library->description.kernels.size());
  }
  return result;
}

CUresult enumerate_kernels(CUkernel* kernels, unsigned count, CUlibrary handle) {
  Entry entry;
  Library* library = nullptr;
  if (const CUresult result = enter(entry, handle, kernels, &library); result != CUDA_SUCCESS) {
    return result;
  }
  const auto& list = library->description.kernels;
  for (unsigned i = 0; i < count && i < list.size(); ++i) {
    kernels[i] = as_handle<CUkernel>(kernel_of(*library, list[i])->handle);
  }
  return CUDA_SUCCESS;
}

// The library's instance in the current context.
CUresult enter_instance(Entry& entry, CUlibrary handle, const void* out, Module** module) {
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Library* library = nullptr;
  const CUresult result = enter(entry, handle, out, &library);
  return result != CUDA_SUCCESS ? result : instance_of(entry.context(), *library, module);
}

CUresult get_module(CUmodule* out, CUlibrary handle) {
  Entry entry;
  Module* module = nullptr;
  const CUresult result = enter_instance(entry, handle, out, &module);
  if (result == CUDA_SUCCESS) {
    *out = as_handle<CUmodule>(module->handle);
  }
  return result;
}

CUresult get_global(CUdeviceptr* address, std::size_t* bytes, CUlibrary handle,
                    const char* name) {
  Entry entry;
  Module* module = nullptr;
  if (const CUresult result = enter_instance(entry, handle, name, &module);
      result != CUDA_SUCCESS) {
    return result;
  }
  return variable_of(*module, name, false, address, bytes);
}

// Needs no context: programs ask before they have one.
CUresult get_managed(CUdeviceptr* address, std::size_t* bytes, CUlibrary handle,
                     const char* name) {
  Entry entry;
  Library* library = nullptr;
  if (const CUresult result = enter(entry, handle, name, &library); result != CUDA_SUCCESS) {
    return result;
  }
  const auto found = library->managed.find(name);
  if (found == library->managed.end()) {
    return CUDA_ERROR_NOT_FOUND;
  }
  if (address != nullptr) {
    *address = found->second.base;
  }
  if (bytes != nullptr) {
    *bytes = found->second.bytes;
  }
  return CUDA_SUCCESS;
}

}  // namespace

void fill_library_calls(DriverTable& table) {
  table.cuLibraryLoadData = load_data;
  table.cuLibraryLoadFromFile = load_file;
  table.cuLibraryUnload = unload;
  table.cuLibraryGetKernel = get_kernel;
  table.cuLibraryGetKernelCount = get_kernel_count;
  table.cuLibraryEnumerateKernels = enumerate_kernels;
  table.cuLibraryGetModule = get_module;
  table.cuLibraryGetGlobal = get_global;
  table.cuLibraryGetManaged = get_managed;
}

}  // namespace phos::sim
