// SPDX-License-Identifier: Apache-2.0
// What of NVML changes from moment to moment: memory, load, power, temperature, clocks, processes.
// Only the program's own process is shown; whose the rest is is not its business.
#include <unistd.h>

#include <cstdint>

#include "nvml/state.h"

using phos::DeviceLive;
using phos::nvml::Device;
using phos::nvml::Memory;
using phos::nvml::MemoryV2;
using phos::nvml::ProcessInfoV1;
using phos::nvml::ProcessInfoV2;
using phos::nvml::Return;
using phos::nvml::Utilization;

namespace {

constexpr int code(Return status) noexcept { return static_cast<int>(status); }

// `answer` fills *out, and gives false for what the device does not tell.
template <class T, class Answer>
int from_live(Device device, T* out, Answer&& answer) noexcept {
  if (out == nullptr) return code(Return::invalid_argument);
  DeviceLive live{};
  const Return status = phos::nvml::live_of(device, &live);
  if (status != Return::success) return code(status);
  return code(answer(live) ? Return::success : Return::not_supported);
}

bool give(std::int32_t value, unsigned* out) noexcept {
  if (value == INT32_MIN) return false;
  *out = static_cast<unsigned>(value);
  return true;
}

int clock_of(Device device, unsigned type, unsigned* mhz) noexcept {
  if (type >= phos::nvml::kClockTypes) return code(Return::invalid_argument);
  return from_live(device, mhz, [=](const DeviceLive& live) {
    return give(live.clock_mhz[type], mhz);
  });
}

void fill(const DeviceLive& live, ProcessInfoV1& info) noexcept {
  info = {static_cast<std::uint32_t>(getpid()), live.client_bytes};
}
void fill(const DeviceLive& live, ProcessInfoV2& info) noexcept {
  info = {static_cast<std::uint32_t>(getpid()), live.client_bytes, phos::nvml::kNoInstance,
          phos::nvml::kNoInstance};
}

template <class Info>
int own_process(Device device, unsigned* count, Info* infos) noexcept {
  if (count == nullptr) return code(Return::invalid_argument);
  const unsigned room = infos == nullptr ? 0 : *count;
  DeviceLive live{};
  const Return status = phos::nvml::live_of(device, &live);
  if (status != Return::success) return code(status);
  *count = 1;
  if (room == 0) return code(Return::insufficient_size);
  fill(live, infos[0]);
  return code(Return::success);
}

int no_process(Device device, unsigned* count) noexcept {
  const phos::DevicePage* page = nullptr;
  const Return status = phos::nvml::page_of(device, &page);
  if (status != Return::success) return code(status);
  if (count == nullptr) return code(Return::invalid_argument);
  *count = 0;
  return code(Return::success);
}

}  // namespace

extern "C" {

#define PHOS_EXPORT __attribute__((visibility("default"))) int

PHOS_EXPORT nvmlDeviceGetMemoryInfo(Device device, Memory* memory) {
  return from_live(device, memory, [memory](const DeviceLive& live) {
    *memory = {live.total_bytes, live.free_bytes, live.total_bytes - live.free_bytes};
    return true;
  });
}
PHOS_EXPORT nvmlDeviceGetMemoryInfo_v2(Device device, MemoryV2* memory) {
  if (memory == nullptr) return code(Return::invalid_argument);
  if (memory->version != phos::nvml::kMemoryV2) return code(Return::version_mismatch);
  return from_live(device, memory, [memory](const DeviceLive& live) {
    const std::uint64_t used = live.total_bytes - live.free_bytes;
    *memory = {phos::nvml::kMemoryV2, live.total_bytes, 0, live.free_bytes, used};
    return true;
  });
}
PHOS_EXPORT nvmlDeviceGetUtilizationRates(Device device, Utilization* rates) {
  return from_live(device, rates, [rates](const DeviceLive& live) {
    return give(live.gpu_percent, &rates->gpu) && give(live.memory_percent, &rates->memory);
  });
}
PHOS_EXPORT nvmlDeviceGetPowerUsage(Device device, unsigned* milliwatts) {
  return from_live(device, milliwatts,
                   [=](const DeviceLive& live) { return give(live.power_mw, milliwatts); });
}
PHOS_EXPORT nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned* milliwatts) {
  return from_live(device, milliwatts,
                   [=](const DeviceLive& live) { return give(live.power_limit_mw, milliwatts); });
}
PHOS_EXPORT nvmlDeviceGetPowerManagementLimit(Device device, unsigned* milliwatts) {
  return nvmlDeviceGetEnforcedPowerLimit(device, milliwatts);
}
PHOS_EXPORT nvmlDeviceGetTemperature(Device device, int sensor, unsigned* celsius) {
  if (sensor != phos::nvml::kSensorGpu) return code(Return::invalid_argument);
  return from_live(device, celsius,
                   [=](const DeviceLive& live) { return give(live.temperature_c, celsius); });
}
PHOS_EXPORT nvmlDeviceGetClockInfo(Device device, unsigned type, unsigned* mhz) {
  return clock_of(device, type, mhz);
}

PHOS_EXPORT nvmlDeviceGetComputeRunningProcesses(Device device, unsigned* count,
                                                 ProcessInfoV1* infos) {
  return own_process(device, count, infos);
}
PHOS_EXPORT nvmlDeviceGetComputeRunningProcesses_v2(Device device, unsigned* count,
                                                    ProcessInfoV2* infos) {
  return own_process(device, count, infos);
}
PHOS_EXPORT nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned* count,
                                                    ProcessInfoV2* infos) {
  return own_process(device, count, infos);
}
PHOS_EXPORT nvmlDeviceGetGraphicsRunningProcesses(Device device, unsigned* count, void*) {
  return no_process(device, count);
}
PHOS_EXPORT nvmlDeviceGetGraphicsRunningProcesses_v2(Device device, unsigned* count, void*) {
  return no_process(device, count);
}
PHOS_EXPORT nvmlDeviceGetGraphicsRunningProcesses_v3(Device device, unsigned* count, void*) {
  return no_process(device, count);
}

}  // extern "C"
