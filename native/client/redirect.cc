// SPDX-License-Identifier: Apache-2.0
// Programs that look for the driver by another name or by its path must find this library: neither
// LD_PRELOAD by SONAME nor LD_LIBRARY_PATH reaches dlopen("libcuda.so") or an absolute path. So
// this library's dlopen stands before libc's, and changes the path where it names the driver.
#include <dlfcn.h>
#include <string.h>

#include <atomic>

namespace {

constexpr char kManagementName[] = "libnvidia-ml.so.1";

using Dlopen = void* (*)(const char*, int);
using Dlmopen = void* (*)(Lmid_t, const char*, int);

// SAFETY: resolved on first use; every thread finds the same address.
constinit std::atomic<Dlopen> g_dlopen{nullptr};
constinit std::atomic<Dlmopen> g_dlmopen{nullptr};

enum class Named { nothing_of_ours, driver, management };

// The real NVML would open the GPU in the calling process, which then could not be dumped.
Named what_is_named(const char* file) noexcept {
  if (file == nullptr) return Named::nothing_of_ours;
  const char* slash = strrchr(file, '/');
  const char* name = slash == nullptr ? file : slash + 1;
  if (strcmp(name, "libcuda.so.1") == 0 || strcmp(name, "libcuda.so") == 0) return Named::driver;
  if (strcmp(name, "libnvidia-ml.so.1") == 0 || strcmp(name, "libnvidia-ml.so") == 0) {
    return Named::management;
  }
  return Named::nothing_of_ours;
}

// Where this library was loaded from: opening that path gives the copy that is loaded already.
const char* own_path() noexcept {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&what_is_named), &info) == 0) return nullptr;
  return info.dli_fname;
}

// The stand-in of NVML lies beside this library.
const char* management_path() noexcept {
  static char path[4096];
  static constinit std::atomic<bool> made{false};
  if (made.load(std::memory_order_acquire)) return path;
  const char* own = own_path();
  const char* slash = own == nullptr ? nullptr : strrchr(own, '/');
  if (slash == nullptr) return kManagementName;
  const auto folder = static_cast<std::size_t>(slash + 1 - own);
  if (folder + sizeof kManagementName > sizeof path) return kManagementName;
  // SAFETY: threads that come here at once write the same bytes.
  memcpy(path, own, folder);
  memcpy(path + folder, kManagementName, sizeof kManagementName);
  made.store(true, std::memory_order_release);
  return path;
}

template <class Function>
Function next(std::atomic<Function>& cache, const char* name) noexcept {
  Function function = cache.load(std::memory_order_acquire);
  if (function == nullptr) {
    function = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
    cache.store(function, std::memory_order_release);
  }
  return function;
}

}  // namespace

extern "C" {

// What tells this library from the driver: native/drivers/cuda refuses to load it as one.
__attribute__((visibility("default"))) void phos_stand_in() {}

// The path to open instead of `file`. Called by the entries below.
__attribute__((visibility("hidden"), used)) const char* phos_redirected_path(const char* file) {
  const Named named = what_is_named(file);
  if (named == Named::management) return management_path();
  if (named != Named::driver) return file;
  const char* own = own_path();
  return own == nullptr ? file : own;
}

__attribute__((visibility("hidden"), used)) Dlopen phos_next_dlopen() {
  return next(g_dlopen, "dlopen");
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// libc finds out by the return address who calls, and searches that library's RUNPATH. So libc's
// function is jumped to, with the caller's own return address on the stack.
asm(R"(
  .pushsection .text
  .globl dlopen
  .type dlopen, @function
dlopen:
  .cfi_startproc
  endbr64
  pushq %rsi
  .cfi_adjust_cfa_offset 8
  call phos_redirected_path
  pushq %rax
  .cfi_adjust_cfa_offset 8
  subq $8, %rsp
  .cfi_adjust_cfa_offset 8
  call phos_next_dlopen
  addq $8, %rsp
  .cfi_adjust_cfa_offset -8
  popq %rdi
  .cfi_adjust_cfa_offset -8
  popq %rsi
  .cfi_adjust_cfa_offset -8
  jmp *%rax
  .cfi_endproc
  .size dlopen, . - dlopen
  .popsection
)");
#else
__attribute__((visibility("default"))) void* dlopen(const char* file, int mode) {
  return phos_next_dlopen()(phos_redirected_path(file), mode);
}
#endif

// A second copy of this library in another namespace would be a second client: the one that is
// loaded is given out in every namespace.
__attribute__((visibility("default"))) void* dlmopen(Lmid_t space, const char* file, int mode) {
  if (what_is_named(file) != Named::nothing_of_ours) {
    return phos_next_dlopen()(phos_redirected_path(file), mode);
  }
  return next(g_dlmopen, "dlmopen")(space, file, mode);
}

}  // extern "C"
