// SPDX-License-Identifier: Apache-2.0
// Modules, libraries and their kernels. A library belongs to no context; in each context that uses
// it there is an instance, a module with variables of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "code-images/description.h"
#include "drivers/sim/context.h"
#include "drivers/sim/ptx/module.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

class Entry;
class Runtime;
struct Library;
struct Module;

// What programs may set on a function or kernel.
struct FunctionSettings {
  int max_dynamic_shared = -1;  // -1: what fits beside the static part in 48 KiB
  int carveout = -1;
  int cluster[3] = {0, 0, 0};
  int non_portable_cluster = 0;
  int cluster_policy = 0;
  CUfunc_cache cache_config = CU_FUNC_CACHE_PREFER_NONE;
};

struct Function {
  std::uint64_t handle = 0;
  Module* module = nullptr;  // keeps this alive
  std::uint32_t index = 0;   // of the kernel in the module
  const ptx::KernelInfo* info = nullptr;
  FunctionSettings settings;
};

struct Module {
  std::uint64_t handle = 0;
  Context* context = nullptr;
  Library* library = nullptr;  // null for cuModuleLoad*
  std::unique_ptr<ptx::Module> code;
  std::vector<std::uint64_t> placed;  // base addresses of its variables
  std::vector<std::shared_ptr<Function>> functions;  // by kernel index; null until asked for
};

struct Kernel {
  std::uint64_t handle = 0;
  Library* library = nullptr;  // keeps this alive
  std::string name;
  const code_images::KernelDescription* description = nullptr;
  FunctionSettings settings;
};

// A managed variable has one memory for all contexts, so it belongs to the library.
struct ManagedVariable {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
};

struct Library {
  std::uint64_t handle = 0;
  std::unordered_map<std::string, ManagedVariable> managed;
  std::vector<std::string> texts;
  code_images::ModuleDescription description;  // not changed after loading
  std::unordered_map<std::string_view, const code_images::KernelDescription*> by_name;
  std::unordered_map<std::string, std::shared_ptr<Kernel>> kernels;  // those asked for
};

// Finds the PTX of an image. Errors: 1 null, 200 not an image, 209 no PTX (explained on stderr).
CUresult read_texts(const void* image, std::vector<std::string>& texts);
// Loads the texts into the context: parses, places variables, writes their initial values. Managed
// variables of a library (null: a plain module) keep the memory and the values that they have.
CUresult instantiate(Context& context, const std::vector<std::string>& texts,
                     const Library* library, std::shared_ptr<Module>& module);
// Gives the managed variables of a library memory and their initial values.
CUresult place_managed(Library& library);
void forget_managed(Library& library);
// The instance of a library in a context, made on first use.
CUresult instance_of(Context& context, Library& library, Module** module);

// The function object of a kernel in a module, made on first use.
Function* function_of(Module& module, std::uint32_t index);
// What a launch is given: a CUfunction, or a CUkernel dressed up as one. On failure: 400, or why
// the kernel's library cannot be loaded into the context.
CUresult resolve_function(Context& context, CUfunction handle, std::shared_ptr<Module>& module,
                          Function** function);

// A variable by name; `managed` asks for a managed one only. Errors: 500.
CUresult variable_of(const Module& module, const char* name, bool managed, CUdeviceptr* address,
                     std::size_t* bytes);
// A whole file. Errors: 301, or 200 if it is empty.
CUresult read_file(const char* path, std::vector<std::uint8_t>& bytes);

// Takes a module's objects out of the tables and frees its variables. Nothing of it may run.
void forget_module(Runtime& all, Module& module);
void forget_modules(Runtime& all, Context& context);

}  // namespace phos::sim
