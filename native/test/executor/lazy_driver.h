// SPDX-License-Identifier: Apache-2.0
// Modules of a driver that loads lazily: variables and code get their places when somebody needs
// them, in a space that is handed out again.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gen/driver_table.h"

namespace phos::test {

inline constexpr std::uint64_t kUnit = 0x100;

// A library or module of the driver. What it holds is placed when somebody needs it.
struct Loaded {
  bool at_once = false;  // a module: its variables are placed when it is loaded
  std::map<std::string, std::uint64_t> places;
};

struct Symbol {
  std::uint64_t owner = 0;
  std::string name;
  Symbol* function = nullptr;  // of a kernel
};

// The driver: hands out the lowest free unit.
struct Placer {
  std::uint64_t next = 1;
  std::map<std::uint64_t, Loaded> loaded;
  std::vector<std::unique_ptr<Symbol>> symbols;
  std::set<std::uint64_t> taken;
  std::size_t stack_limit = 0;

  std::uint64_t place(Loaded& owner, const std::string& name) {
    const auto known = owner.places.find(name);
    if (known != owner.places.end()) return known->second;
    std::uint64_t at = kUnit;
    while (taken.contains(at)) at += kUnit;
    taken.insert(at);
    owner.places[name] = at;
    return at;
  }
  void need(const Symbol& symbol) {
    Loaded& owner = loaded.at(symbol.owner);
    place(owner, "a");
    place(owner, "b");
    place(owner, "code of " + symbol.name);
  }
  CUresult unload(std::uint64_t handle) {
    for (const auto& [name, at] : loaded.at(handle).places) taken.erase(at);
    loaded.erase(handle);
    return CUDA_SUCCESS;
  }
};
inline Placer* g_placer = nullptr;

inline std::uint64_t number(const void* handle) { return reinterpret_cast<std::uint64_t>(handle); }

template <class Handle>
CUresult load(Handle* out, bool at_once) {
  const std::uint64_t handle = ++g_placer->next;
  Loaded& loaded = g_placer->loaded[handle];
  loaded.at_once = at_once;
  if (at_once) g_placer->place(loaded, "a");
  if (at_once) g_placer->place(loaded, "b");
  *out = reinterpret_cast<Handle>(handle);
  return CUDA_SUCCESS;
}

template <class Handle, class Owner>
CUresult symbol(Handle* out, Owner owner, const char* name) {
  g_placer->symbols.push_back(std::make_unique<Symbol>(Symbol{number(owner), name}));
  *out = reinterpret_cast<Handle>(g_placer->symbols.back().get());
  return CUDA_SUCCESS;
}

inline CUresult global(CUdeviceptr* address, std::size_t* bytes, std::uint64_t owner,
                       const char* name) {
  if (std::strlen(name) != 1) return CUDA_ERROR_NOT_FOUND;
  *address = g_placer->place(g_placer->loaded.at(owner), name);
  *bytes = 4;
  return CUDA_SUCCESS;
}

inline DriverTable lazy_table(const DriverTable& fake) {
  DriverTable table = fake;
  table.cuModuleLoadDataEx = [](CUmodule* module, const void*, unsigned int, CUjit_option*,
                                void**) { return load(module, true); };
  table.cuLibraryLoadData = [](CUlibrary* library, const void*, CUjit_option*, void**, unsigned int,
                               CUlibraryOption*, void**, unsigned int) {
    return load(library, false);
  };
  table.cuModuleGetFunction = [](CUfunction* function, CUmodule module, const char* name) {
    return symbol(function, module, name);
  };
  table.cuLibraryGetKernel = [](CUkernel* kernel, CUlibrary library, const char* name) {
    return symbol(kernel, library, name);
  };
  table.cuKernelGetFunction = [](CUfunction* function, CUkernel kernel) {
    *function = reinterpret_cast<CUfunction>(kernel);
    return CUDA_SUCCESS;
  };
  table.cuFuncLoad = [](CUfunction function) {
    g_placer->need(*reinterpret_cast<const Symbol*>(function));
    return CUDA_SUCCESS;
  };
  table.cuLaunchKernel = [](CUfunction function, unsigned int, unsigned int, unsigned int,
                            unsigned int, unsigned int, unsigned int, unsigned int, CUstream,
                            void**, void**) {
    g_placer->need(*reinterpret_cast<const Symbol*>(function));
    return CUDA_SUCCESS;
  };
  table.cuModuleGetGlobal = [](CUdeviceptr* at, std::size_t* bytes, CUmodule module,
                               const char* name) {
    return global(at, bytes, number(module), name);
  };
  table.cuLibraryGetGlobal = [](CUdeviceptr* at, std::size_t* bytes, CUlibrary library,
                                const char* name) {
    return global(at, bytes, number(library), name);
  };
  table.cuModuleUnload = [](CUmodule module) { return g_placer->unload(number(module)); };
  table.cuLibraryUnload = [](CUlibrary library) { return g_placer->unload(number(library)); };
  table.cuCtxSetLimit = [](CUlimit, std::size_t value) {
    g_placer->stack_limit = value;
    return CUDA_SUCCESS;
  };
  return table;
}

}  // namespace phos::test
