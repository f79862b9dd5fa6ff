// SPDX-License-Identifier: Apache-2.0
#include "drivers/cuda/driver.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>

#include "drivers/cuda/reservations.h"

namespace phos::cuda {
namespace {

using GetProcAddress = CUresult (*)(const char* symbol, void** function, int version,
                                    cuuint64_t flags, CUdriverProcAddressQueryResult* status);

struct Library {
  void* handle;
  GetProcAddress get_proc_address;
};

// cuGetProcAddress knows the version that the notation means; the plain symbol of the same name
// may be an older ABI. dlsym serves only the few names that cuGetProcAddress does not list.
void* resolve(void* user, const DriverSymbol& symbol) {
  const auto& library = *static_cast<const Library*>(user);
  if (library.get_proc_address != nullptr) {
    void* function = nullptr;
    CUdriverProcAddressQueryResult status{};
    const CUresult result = library.get_proc_address(
        symbol.name, &function, symbol.since, CU_GET_PROC_ADDRESS_LEGACY_STREAM, &status);
    if (result == CUDA_SUCCESS && function != nullptr) return function;
  }
  return dlsym(library.handle, symbol.symbol);
}

}  // namespace

LoadOutcome fill_driver_table(DriverTable& table) {
  const char* const asked = std::getenv("PHOS_CUDA_LIBRARY");
  const char* const name = asked != nullptr && *asked != '\0' ? asked : "libcuda.so.1";
  // Leaked on purpose: the driver's own threads and exit handlers outlive any owner here.
  void* const handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = dlerror();
    return {false, std::string("cannot load the CUDA driver ") + name + ": " +
                       (why != nullptr ? why : "unknown reason") +
                       "; install the NVIDIA driver, set PHOS_CUDA_LIBRARY, or use --driver sim"};
  }
  if (dlsym(handle, "phos_stand_in") != nullptr) {
    dlclose(handle);
    return {false, std::string(name) +
                       " is the stand-in of phos, not a driver; set PHOS_CUDA_LIBRARY to the real "
                       "libcuda.so.1 or take phos out of LD_LIBRARY_PATH"};
  }
  const Redirection redirection = redirect_reservations(handle);
  // SAFETY: the driver exports this symbol with this signature since CUDA 12.0.
  const auto get_proc_address =
      reinterpret_cast<GetProcAddress>(dlsym(handle, "cuGetProcAddress_v2"));
  Library library{handle, get_proc_address};
  fill_unsupported(table);
  const std::size_t filled = load_driver_table(table, resolve, &library);
  return {true, std::string(name) + ": " + std::to_string(filled) + " of " +
                    std::to_string(driver_symbols().size()) + " functions; " +
                    redirection.message};
}

}  // namespace phos::cuda
