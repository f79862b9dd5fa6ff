// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "code-images/image.h"
#include "drivers/sim/calls.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/module.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

// Fills the log buffers that a caller may pass with the options, so that it does not read garbage.
void clear_logs(unsigned count, const CUjit_option* options, void** values) {
  for (unsigned i = 0; i < count && options != nullptr && values != nullptr; ++i) {
    if ((options[i] == CU_JIT_INFO_LOG_BUFFER || options[i] == CU_JIT_ERROR_LOG_BUFFER) &&
        values[i] != nullptr) {
      static_cast<char*>(values[i])[0] = '\0';
    } else if (options[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES ||
               options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) {
      values[i] = nullptr;  // zero bytes were written
    }
  }
}

CUresult load_data(CUmodule* out, const void* image) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || image == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::vector<std::string> texts;
  if (const CUresult result = read_texts(image, texts); result != CUDA_SUCCESS) {
    return result;
  }
  std::shared_ptr<Module> module;
  const CUresult result = instantiate(entry.context(), texts, nullptr, module);
  if (result == CUDA_SUCCESS) {
    *out = as_handle<CUmodule>(module->handle);
  }
  return result;
}

CUresult load_data_ex(CUmodule* out, const void* image, unsigned count, CUjit_option* options,
                      void** values) {
  clear_logs(count, options, values);
  return load_data(out, image);
}

CUresult load_file(CUmodule* out, const char* path) {
  if (out == nullptr || path == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::vector<std::uint8_t> bytes;
  if (const CUresult result = read_file(path, bytes); result != CUDA_SUCCESS) {
    return result;
  }
  const auto image = code_images::LoadableImage::from_flat(bytes);
  return image.ok() ? load_data(out, image.value().data()) : CUDA_ERROR_INVALID_IMAGE;
}

CUresult unload(CUmodule handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const std::shared_ptr<Module> module = runtime().modules.share(handle_bits(handle));
  if (!module || module->library != nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  // Kernels of the module that are still queued read its variables.
  settle(entry);
  forget_module(runtime(), *module);
  return CUDA_SUCCESS;
}

CUresult loading_mode(CUmoduleLoadingMode* mode) {
  if (mode == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *mode = CU_MODULE_LAZY_LOADING;
  return CUDA_SUCCESS;
}

CUresult enter(Entry& entry, CUmodule handle, const void* out, Module** module) {
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *module = runtime().modules.find(handle_bits(handle));
  return *module == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult get_function(CUfunction* out, CUmodule handle, const char* name) {
  Entry entry;
  Module* module = nullptr;
  if (const CUresult result = enter(entry, handle, out, &module); result != CUDA_SUCCESS) {
    return result;
  }
  if (name == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto index = module->code->find_kernel(name);
  if (!index) {
    return CUDA_ERROR_NOT_FOUND;
  }
  *out = as_handle<CUfunction>(function_of(*module, *index)->handle);
  return CUDA_SUCCESS;
}

CUresult get_function_count(unsigned* count, CUmodule handle) {
  Entry entry;
  Module* module = nullptr;
  const CUresult result = enter(entry, handle, count, &module);
  if (result == CUDA_SUCCESS) {
    *count = static_cast<unsigned>(module->functions.size());
  }
  return result;
}

CUresult enumerate_functions(CUfunction* functions, unsigned count, CUmodule handle) {
  Entry entry;
  Module* module = nullptr;
  if (const CUresult result = enter(entry, handle, functions, &module); result != CUDA_SUCCESS) {
    return result;
  }
  for (unsigned i = 0; i < count && i < module->functions.size(); ++i) {
    functions[i] = as_handle<CUfunction>(function_of(*module, i)->handle);
  }
  return CUDA_SUCCESS;
}

CUresult get_global(CUdeviceptr* address, std::size_t* bytes, CUmodule handle,
                    const char* name) {
  Entry entry;
  Module* module = nullptr;
  if (const CUresult result = enter(entry, handle, &entry, &module); result != CUDA_SUCCESS) {
    return result;
  }
  if (name == nullptr || (address == nullptr && bytes == nullptr)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return variable_of(*module, name, false, address, bytes);
}

}  // namespace

CUresult read_file(const char* path, std::vector<std::uint8_t>& bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return CUDA_ERROR_FILE_NOT_FOUND;
  }
  bytes.assign(std::istreambuf_iterator<char>(file), {});
  return bytes.empty() ? CUDA_ERROR_INVALID_IMAGE : CUDA_SUCCESS;
}

CUresult variable_of(const Module& module, const char* name, bool managed, CUdeviceptr* address,
                     std::size_t* bytes) {
  const auto index = module.code->find_variable(name);
  if (!index || (managed && !module.code->variables()[*index].managed)) {
    return CUDA_ERROR_NOT_FOUND;
  }
  if (address != nullptr) {
    *address = module.code->address_of(*index);
  }
  if (bytes != nullptr) {
    *bytes = module.code->variables()[*index].bytes;
  }
  return CUDA_SUCCESS;
}

void fill_module_calls(DriverTable& table) {
  table.cuModuleLoad = load_file;
  table.cuModuleLoadData = load_data;
  table.cuModuleLoadDataEx = load_data_ex;
  table.cuModuleLoadFatBinary = load_data;
  table.cuModuleUnload = unload;
  table.cuModuleGetLoadingMode = loading_mode;
  table.cuModuleGetFunction = get_function;
  table.cuModuleGetFunctionCount = get_function_count;
  table.cuModuleEnumerateFunctions = enumerate_functions;
  table.cuModuleGetGlobal = get_global;
}

}  // namespace phos::sim
