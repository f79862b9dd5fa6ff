// SPDX-License-Identifier: Apache-2.0
// Programs that look for the driver by another name or by its path must find this library: neither
// LD_PRELOAD by SONAME nor LD_LIBRARY_PATH reaches dlopen("libcuda.so") or an absolute path. So
// this library's dlopen stands before libc's, and changes the path where it names the driver.
#include <dlfcn.h>
#include <string.h>

#include <atomic>

namespace {

using Dlopen = void* (*)(const char*, int);
using Dlmopen = void* (*)(Lmid_t, const char*, int);

// SAFETY: resolved on first use; every thread finds the same address.
constinit std::atomic<Dlopen> g_dlopen{nullptr};
constinit std::atomic<Dlmopen> g_dlmopen{nullptr};

bool names_the_driver(const char* file) noexcept {
  if (file == nullptr) return false;
  const char* slash = strrchr(file, '/');
  const char* name = slash == nullptr ? file : slash + 1;
  return strcmp(name, "libcuda.so.1") == 0 || strcmp(name, "libcuda.so") == 0;
}

// The real NVML opens the GPU in the calling process, which then could not be dumped. Until phos
// has an NVML of its own, a program gets none, and dlerror() says why.
constexpr char kNoManagementLibrary[] =
    "libnvidia-ml.so.1 (phos gives programs no NVML: it would open the GPU in this process)";

bool names_the_management_library(const char* file) noexcept {
  if (file == nullptr) return false;
  const char* slash = strrchr(file, '/');
  const char* name = slash == nullptr ? file : slash + 1;
  return strcmp(name, "libnvidia-ml.so.1") == 0 || strcmp(name, "libnvidia-ml.so") == 0;
}

// Where this library was loaded from: opening that path gives the copy that is loaded already.
const char* own_path() noexcept {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&names_the_driver), &info) == 0) return nullptr;
  return info.dli_fname;
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
  if (names_the_management_library(file)) return kNoManagementLibrary;
  if (!names_the_driver(file)) return file;
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
  if (names_the_driver(file) || names_the_management_library(file)) {
    return phos_next_dlopen()(phos_redirected_path(file), mode);
  }
  return next(g_dlmopen, "dlmopen")(space, file, mode);
}

}  // extern "C"
