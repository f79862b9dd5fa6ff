// SPDX-License-Identifier: Apache-2.0
// What of the device changes. The vendor's management library is asked where it knows this device;
// else the driver's own count of memory is all that is told.
#include <dlfcn.h>

#include <climits>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "executor/device_live.h"
#include "executor/handler_tools.h"
#include "executor/helpers.h"
#include "nvml/nvml_abi.h"
#include "phos/device_page.h"

namespace phos::executor {

namespace {

using nvml::Device;

// The functions that are asked, as the vendor's library exports them; null where it has none.
struct Library {
  int (*init)();
  int (*count)(unsigned*);
  int (*by_index)(unsigned, Device*);
  int (*uuid)(Device, char*, unsigned);
  int (*memory)(Device, nvml::Memory*);
  int (*load)(Device, nvml::Utilization*);
  int (*power)(Device, unsigned*);
  int (*power_limit)(Device, unsigned*);
  int (*temperature)(Device, int, unsigned*);
  int (*clock)(Device, unsigned, unsigned*);
};

template <class Function>
void find(void* handle, const char* name, Function& function) noexcept {
  // SAFETY: the names and signatures are those of NVIDIA's NVML API Reference.
  function = reinterpret_cast<Function>(dlsym(handle, name));
}

// Beside the driver that is used, else wherever the loader finds it; never the stand-in of phos.
void* open_library() {
  const char* driver = std::getenv("PHOS_CUDA_LIBRARY");
  std::string beside = driver != nullptr ? driver : "";
  const std::size_t slash = beside.rfind('/');
  void* handle = nullptr;
  if (slash != std::string::npos) {
    beside = beside.substr(0, slash + 1) + "libnvidia-ml.so.1";
    handle = dlopen(beside.c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  if (handle == nullptr) handle = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr || dlsym(handle, "phos_stand_in_management") == nullptr) return handle;
  dlclose(handle);
  return nullptr;
}

bool load_library(Library& library) {
  void* handle = open_library();
  if (handle == nullptr) return false;
  find(handle, "nvmlInit_v2", library.init);
  find(handle, "nvmlDeviceGetCount_v2", library.count);
  find(handle, "nvmlDeviceGetHandleByIndex_v2", library.by_index);
  find(handle, "nvmlDeviceGetUUID", library.uuid);
  find(handle, "nvmlDeviceGetMemoryInfo", library.memory);
  find(handle, "nvmlDeviceGetUtilizationRates", library.load);
  find(handle, "nvmlDeviceGetPowerUsage", library.power);
  find(handle, "nvmlDeviceGetEnforcedPowerLimit", library.power_limit);
  find(handle, "nvmlDeviceGetTemperature", library.temperature);
  find(handle, "nvmlDeviceGetClockInfo", library.clock);
  return library.init != nullptr && library.count != nullptr && library.by_index != nullptr &&
         library.uuid != nullptr && library.init() == 0;
}

// The library's "GPU-xxxxxxxx-..." against the driver's 16 bytes.
bool same_uuid(const char* text, const CUuuid& uuid) noexcept {
  std::size_t digit = 0;
  const char* at = std::strncmp(text, "GPU-", 4) == 0 ? text + 4 : text;
  for (; *at != '\0' && digit < 32; ++at) {
    if (*at == '-') continue;
    const char pair[] = {*at, '\0'};
    char* end = nullptr;
    const unsigned long value = std::strtoul(pair, &end, 16);
    const auto byte = static_cast<unsigned char>(uuid.bytes[digit / 2]);
    const unsigned wanted = digit % 2 == 0 ? byte >> 4 : byte & 15U;
    if (end == pair || value != wanted) return false;
    ++digit;
  }
  return digit == 32 && *at == '\0';
}

// The vendor's library, and its handle of this executor's device: loaded at the first question.
struct Monitor {
  Library library{};
  Device device = nullptr;

  explicit Monitor(Session& session) {
    CUuuid uuid{};
    unsigned count = 0;
    if (session.driver().cuDeviceGetUuid(&uuid, session.device()) != CUDA_SUCCESS) return;
    if (!load_library(library) || library.count(&count) != 0) return;
    for (unsigned i = 0; i < count && device == nullptr; ++i) {
      Device candidate = nullptr;
      char text[96] = "";
      if (library.by_index(i, &candidate) != 0) continue;
      if (library.uuid(candidate, text, sizeof text) == 0 && same_uuid(text, uuid)) {
        device = candidate;
      }
    }
  }
};

// INT_MIN stays where the library does not tell.
template <class Function, class... Arguments>
void ask(Function function, std::int32_t& out, Arguments... arguments) {
  unsigned value = 0;
  if (function == nullptr || function(arguments..., &value) != 0 || value > INT_MAX) return;
  out = static_cast<std::int32_t>(value);
}

void ask_monitor(const Monitor& monitor, DeviceLive& live) {
  const Library& library = monitor.library;
  nvml::Memory memory{};
  nvml::Utilization load{};
  if (library.memory != nullptr && library.memory(monitor.device, &memory) == 0) {
    live.total_bytes = memory.total;
    live.free_bytes = memory.free;
  }
  if (library.load != nullptr && library.load(monitor.device, &load) == 0) {
    live.gpu_percent = static_cast<std::int32_t>(load.gpu);
    live.memory_percent = static_cast<std::int32_t>(load.memory);
  }
  ask(library.power, live.power_mw, monitor.device);
  ask(library.power_limit, live.power_limit_mw, monitor.device);
  ask(library.temperature, live.temperature_c, monitor.device, nvml::kSensorGpu);
  for (unsigned type = 0; type < nvml::kClockTypes; ++type) {
    ask(library.clock, live.clock_mhz[type], monitor.device, type);
  }
}

CUresult look(Session& session, DeviceLive& live) {
  live = {0, 0, session.memory().used_bytes(), INT_MIN, INT_MIN, INT_MIN, INT_MIN, INT_MIN,
          {INT_MIN, INT_MIN, INT_MIN, INT_MIN}};
  std::size_t free = 0;
  std::size_t total = 0;
  CUresult result = session.enter_context();
  if (result == CUDA_SUCCESS) result = session.driver().cuMemGetInfo(&free, &total);
  live.free_bytes = free;
  live.total_bytes = total;
  // One for the process: an executor has one device for its whole life.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  static const Monitor monitor(session);
  if (monitor.device != nullptr) {
    ask_monitor(monitor, live);
  } else {
    // Without the vendor's library nobody counts how busy the device is: at rest is the best that
    // can be said, and programs that ask must get a number.
    live.gpu_percent = 0;
    live.memory_percent = 0;
  }
  return result;
}

}  // namespace

void answer_device_live(Session& session, std::uint32_t ordinal, Reply& reply) {
  CUdevice device = 0;
  if (session.driver().cuDeviceGet(&device, static_cast<int>(ordinal)) != CUDA_SUCCESS ||
      device != session.device()) {
    reply.finish(CUDA_ERROR_INVALID_DEVICE);
    return;
  }
  // The vendor's library takes milliseconds, which the drain must not stand still for.
  Reply later = reply;
  reply.postpone();
  session.helpers().run([&session, later]() mutable {
    DeviceLive live{};
    const CUresult status = look(session, live);
    const OutBlob blobs[] = {{&live, sizeof live}};
    finish_with_blobs(session, later, codec::Rep_phos_device_facts{}, blobs, status);
  });
}

}  // namespace phos::executor
