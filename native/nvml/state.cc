// SPDX-License-Identifier: Apache-2.0
#include "nvml/state.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/runtime_dir.h"
#include "nvml/pages.h"
#include "ring/futex.h"

namespace phos::nvml {

namespace {

using AskLive = int (*)(std::uint32_t, DeviceLive*);

// SAFETY: constant-initialised and leaked, guarded by the lock; programs may shut NVML down from
// exit handlers.
constinit ring::FutexLock g_lock;
constinit std::uint32_t g_opens = 0;
constinit std::uint32_t g_count = 0;
constinit DevicePage g_pages[kMaxDevicePages] = {};

// libphos is in every program under phos; a program that took it out of LD_PRELOAD still finds it
// in the folder that this library lies in.
AskLive ask_live() noexcept {
  void* symbol = dlsym(RTLD_DEFAULT, "phos_device_live");
  if (symbol == nullptr) {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) symbol = dlsym(library, "phos_device_live");
  }
  return reinterpret_cast<AskLive>(symbol);
}

}  // namespace

Return open_state() noexcept {
  char folder[512];
  g_lock.lock();
  Return status = Return::success;
  if (g_opens == 0) {
    const bool named = client::runtime_dir(folder, sizeof folder);
    g_count = named ? read_pages(folder, g_pages, kMaxDevicePages) : 0;
    if (g_count == 0) status = Return::driver_not_loaded;
  }
  if (status == Return::success) ++g_opens;
  g_lock.unlock();
  return status;
}

Return close_state() noexcept {
  g_lock.lock();
  const Return status = g_opens == 0 ? Return::uninitialized : Return::success;
  if (g_opens != 0) --g_opens;
  g_lock.unlock();
  return status;
}

bool is_open() noexcept {
  g_lock.lock();
  const bool open = g_opens != 0;
  g_lock.unlock();
  return open;
}

std::uint32_t device_count() noexcept { return is_open() ? g_count : 0; }

const DevicePage& page_at(std::uint32_t index) noexcept { return g_pages[index]; }

Return page_of(Device device, const DevicePage** page) noexcept {
  if (!is_open()) return Return::uninitialized;
  const auto number = reinterpret_cast<std::uintptr_t>(device);
  if (number == 0 || number > g_count) return Return::invalid_argument;
  *page = &g_pages[number - 1];
  return Return::success;
}

Return live_of(Device device, DeviceLive* live) noexcept {
  const DevicePage* page = nullptr;
  if (const Return status = page_of(device, &page); status != Return::success) return status;
  const AskLive ask = ask_live();
  if (ask == nullptr) return Return::function_not_found;
  const int answer = ask(page->ordinal, live);
  if (answer == 0) return Return::success;
  // CUDA_ERROR_INVALID_DEVICE: a device that this program has no part in.
  return answer == 101 ? Return::not_supported : Return::unknown;
}

int refuse(const char* function, bool& told) noexcept {
  const char* log = getenv("PHOS_LOG");
  if (!told && log != nullptr && *log != '\0' && *log != '0') {
    fprintf(stderr, "phos: %s is not answered; it gives NVML_ERROR_NOT_SUPPORTED\n", function);
  }
  told = true;
  return static_cast<int>(Return::not_supported);
}

}  // namespace phos::nvml
