// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/module.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "drivers/sim/memory.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

constexpr std::uint32_t kComputeCapability = 86;

CUresult code_of(code_images::ImageError error) noexcept {
  switch (error) {
    case code_images::ImageError::none:
      return CUDA_SUCCESS;
    case code_images::ImageError::null_image:
      return CUDA_ERROR_INVALID_VALUE;
    case code_images::ImageError::no_ptx:
      return CUDA_ERROR_NO_BINARY_FOR_GPU;
    case code_images::ImageError::malformed_ptx:
      return CUDA_ERROR_INVALID_PTX;
    default:
      return CUDA_ERROR_INVALID_IMAGE;
  }
}

CUresult place_variables(Context& context, const Library* library, Module& module) {
  Memory& memory = *runtime().memory;
  ptx::Module& code = *module.code;
  const auto variables = code.variables();
  for (std::uint32_t i = 0; i < variables.size(); ++i) {
    if (library != nullptr && variables[i].managed) {
      const auto known = library->managed.find(variables[i].name);
      if (known == library->managed.end()) {
        return CUDA_ERROR_INVALID_IMAGE;
      }
      code.bind(i, known->second.base);
      continue;
    }
    const bool constant = variables[i].space == ptx::VariableSpace::constant;
    Block* block = nullptr;
    // A variable of no bytes still has an address that is its own.
    const std::uint64_t bytes = std::max<std::uint64_t>(variables[i].bytes, 1);
    const CUresult result =
        variables[i].managed
            ? memory.allocate(*context.device, context.handle, bytes, BlockKind::managed, &block)
            : memory.place(*context.device, context.handle, bytes, constant, &block);
    if (result != CUDA_SUCCESS) {
      return result;
    }
    module.placed.push_back(block->base);
    code.bind(i, block->base);
  }
  code.set_function_base(memory.place_functions(code.function_count()));
  return CUDA_SUCCESS;
}

// Units of one -rdc program as one text: what one declares .extern another defines, and names are
// unique because nvcc makes them so. The directives that open a module may stand there only once.
std::string join(const std::vector<std::string>& texts) {
  std::string joined = texts.front();
  for (std::size_t i = 1; i < texts.size(); ++i) {
    std::istringstream lines(texts[i]);
    for (std::string line; std::getline(lines, line);) {
      const std::size_t start = std::min(line.find_first_not_of(" \t"), line.size());
      const std::string_view word = std::string_view(line).substr(start);
      if (!word.starts_with(".version") && !word.starts_with(".target") &&
          !word.starts_with(".address_size")) {
        joined += '\n';
        joined += line;
      }
    }
  }
  return joined;
}

CUresult parse(const std::vector<std::string>& texts, std::unique_ptr<ptx::Module>& code) {
  ptx::Module::Loaded loaded =
      texts.size() == 1 ? ptx::Module::load(texts.front()) : ptx::Module::load(join(texts));
  if (!loaded.module) {
    std::fprintf(stderr, "phos sim: cannot load PTX: %s\n", loaded.diagnostic.message.c_str());
    return static_cast<CUresult>(loaded.diagnostic.cuda_error);
  }
  code = std::move(loaded.module);
  return CUDA_SUCCESS;
}

std::byte* bytes_of(const ManagedVariable& variable) noexcept {
  return runtime().memory->space().resolve(variable.base, variable.bytes);
}

// Keeps the values of a library's managed variables and puts them back at its end.
class ManagedValues {
 public:
  explicit ManagedValues(const Library* library) : library_(library) {
    if (library_ != nullptr) {
      for (const auto& [name, variable] : library_->managed) {
        const std::byte* at = bytes_of(variable);
        values_.emplace_back(at, at + variable.bytes);
      }
    }
  }
  ~ManagedValues() {
    std::size_t next = 0;
    if (library_ != nullptr) {
      for (const auto& [name, variable] : library_->managed) {
        const auto& value = values_[next++];
        std::copy(value.begin(), value.end(), bytes_of(variable));
      }
    }
  }
  ManagedValues(const ManagedValues&) = delete;
  ManagedValues& operator=(const ManagedValues&) = delete;

 private:
  const Library* library_;
  std::vector<std::vector<std::byte>> values_;
};

}  // namespace

CUresult read_texts(const void* image, std::vector<std::string>& texts) {
  auto found = code_images::select_ptx(image, {.sm = kComputeCapability});
  if (!found.ok()) {
    std::fprintf(stderr, "phos sim: cannot load a code image: %s\n",
                 code_images::describe(found.error()));
    return code_of(found.error());
  }
  texts = std::move(found.value());
  return CUDA_SUCCESS;
}

CUresult instantiate(Context& context, const std::vector<std::string>& texts,
                     const Library* library, std::shared_ptr<Module>& out) {
  auto module = std::make_shared<Module>();
  module->context = &context;
  CUresult result = parse(texts, module->code);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  result = place_variables(context, library, *module);
  if (result == CUDA_SUCCESS) {
    // The program may have changed managed variables since the library was loaded.
    const ManagedValues kept(library);
    const ptx::Diagnostic diagnostic = module->code->initialise(runtime().memory->space());
    result = static_cast<CUresult>(diagnostic.cuda_error);
    if (!diagnostic.ok()) {
      std::fprintf(stderr, "phos sim: cannot load PTX: %s\n", diagnostic.message.c_str());
    }
  }
  if (result != CUDA_SUCCESS) {
    forget_module(runtime(), *module);
    return result;
  }
  module->functions.resize(module->code->kernels().size());
  module->handle = runtime().modules.add(module);
  out = std::move(module);
  return CUDA_SUCCESS;
}

CUresult place_managed(Library& library) {
  const auto& variables = library.description.variables;
  if (std::none_of(variables.begin(), variables.end(),
                   [](const auto& variable) { return variable.managed; })) {
    return CUDA_SUCCESS;
  }
  std::unique_ptr<ptx::Module> code;
  if (const CUresult result = parse(library.texts, code); result != CUDA_SUCCESS) {
    return result;
  }
  for (const ptx::VariableInfo& variable : code->variables()) {
    if (!variable.managed) {
      continue;
    }
    Block* block = nullptr;
    const std::uint64_t bytes = std::max<std::uint64_t>(variable.bytes, 1);
    const CUresult result = runtime().memory->allocate(*runtime().devices.front(), 0, bytes,
                                                       BlockKind::managed, &block);
    if (result != CUDA_SUCCESS) {
      forget_managed(library);
      return result;
    }
    const std::size_t given = std::min<std::size_t>(variable.initial.size(), bytes);
    std::copy_n(variable.initial.begin(), given, block->host);
    library.managed[variable.name] = {block->base, bytes};
  }
  return CUDA_SUCCESS;
}

void forget_managed(Library& library) {
  for (const auto& [name, variable] : library.managed) {
    runtime().memory->free(variable.base);
  }
  library.managed.clear();
}

CUresult instance_of(Context& context, Library& library, Module** module) {
  auto& instance = context.instances[&library];
  if (!instance) {
    const CUresult result = instantiate(context, library.texts, &library, instance);
    if (result != CUDA_SUCCESS) {
      context.instances.erase(&library);
      return result;
    }
    instance->library = &library;
  }
  *module = instance.get();
  return CUDA_SUCCESS;
}

Function* function_of(Module& module, std::uint32_t index) {
  auto& function = module.functions[index];
  if (!function) {
    function = std::make_shared<Function>();
    function->module = &module;
    function->index = index;
    function->info = &module.code->kernels()[index];
    function->handle = runtime().functions.add(function);
  }
  return function.get();
}

CUresult resolve_function(Context& context, CUfunction handle, std::shared_ptr<Module>& module,
                          Function** function) {
  Runtime& all = runtime();
  const std::uint64_t bits = handle_bits(handle);
  if (Function* direct = all.functions.find(bits)) {
    module = all.modules.share(direct->module->handle);
    *function = direct;
    return CUDA_SUCCESS;
  }
  Kernel* kernel = all.kernels.find(bits);
  if (kernel == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  Module* instance = nullptr;
  if (const CUresult result = instance_of(context, *kernel->library, &instance);
      result != CUDA_SUCCESS) {
    return result;
  }
  const auto index = instance->code->find_kernel(kernel->name);
  if (!index) {
    return CUDA_ERROR_NOT_FOUND;
  }
  *function = function_of(*instance, *index);
  (*function)->settings = kernel->settings;
  module = all.modules.share(instance->handle);
  return CUDA_SUCCESS;
}

void forget_module(Runtime& all, Module& module) {
  for (const auto& function : module.functions) {
    if (function) {
      all.functions.remove(function->handle);
    }
  }
  for (const std::uint64_t base : module.placed) {
    all.memory->unplace(base);
  }
  module.placed.clear();
  all.modules.remove(module.handle);
}

void forget_modules(Runtime& all, Context& context) {
  std::vector<std::shared_ptr<Module>> mine;
  all.modules.for_each([&](const std::shared_ptr<Module>& module) {
    if (module->context == &context) {
      mine.push_back(module);
    }
  });
  for (const auto& module : mine) {
    forget_module(all, *module);
  }
  context.instances.clear();
}

}  // namespace phos::sim
