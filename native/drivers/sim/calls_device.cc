// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "drivers/sim/calls.h"
#include "drivers/sim/device_facts.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

CUresult init(unsigned flags) {
  if (flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Entry entry;
  if (runtime().devices.empty()) {
    return CUDA_ERROR_NO_DEVICE;
  }
  runtime().initialised = true;
  // In a child that was forked after cuInit this answers CUDA_ERROR_NOT_INITIALIZED.
  return entry.initialised();
}

CUresult driver_get_version(int* version) {
  if (version == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *version = kDriverVersion;
  return CUDA_SUCCESS;
}

// The facts of a device never change, so these calls need no lock.
CUresult check_device(const void* out, CUdevice device) {
  const Runtime& all = runtime();
  if (!all.initialised) {
    return CUDA_ERROR_NOT_INITIALIZED;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (device < 0 || static_cast<std::size_t>(device) >= all.devices.size()) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  return CUDA_SUCCESS;
}

CUresult device_get(CUdevice* device, int ordinal) {
  const CUresult result = check_device(device, ordinal);
  if (result == CUDA_SUCCESS) {
    *device = ordinal;
  }
  return result;
}

CUresult device_get_count(int* count) {
  if (!runtime().initialised) {
    return CUDA_ERROR_NOT_INITIALIZED;
  }
  if (count == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *count = static_cast<int>(runtime().devices.size());
  return CUDA_SUCCESS;
}

CUresult device_get_name(char* name, int length, CUdevice device) {
  const CUresult result = check_device(name, device);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  if (length <= 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::snprintf(name, static_cast<std::size_t>(length), "phos sim");
  return CUDA_SUCCESS;
}

CUresult device_get_uuid(CUuuid* uuid, CUdevice device) {
  const CUresult result = check_device(uuid, device);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  static constexpr char kUuid[16] = {'p', 'h', 'o', 's', '-', 's', 'i', 'm',
                                     '-', 'd', 'e', 'v', 'i', 'c', 'e', 0};
  std::memcpy(uuid->bytes, kUuid, sizeof kUuid);
  uuid->bytes[15] = static_cast<char>(device);
  return CUDA_SUCCESS;
}

CUresult device_total_mem(std::size_t* bytes, CUdevice device) {
  const CUresult result = check_device(bytes, device);
  if (result == CUDA_SUCCESS) {
    *bytes = runtime().settings.memory_bytes;
  }
  return result;
}

CUresult device_get_attribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  const CUresult result = check_device(value, device);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  const auto fact = device_attribute(attribute, device);
  if (!fact) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *value = *fact;
  return CUDA_SUCCESS;
}

CUresult device_compute_capability(int* major, int* minor, CUdevice device) {
  const CUresult result = check_device(major, device);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  if (minor == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *major = kMajor;
  *minor = kMinor;
  return CUDA_SUCCESS;
}

CUresult device_get_properties(CUdevprop* properties, CUdevice device) {
  const CUresult result = check_device(properties, device);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  *properties = {};
  properties->maxThreadsPerBlock = kMaxThreadsPerBlock;
  properties->maxThreadsDim[0] = kMaxThreadsPerBlock;
  properties->maxThreadsDim[1] = kMaxThreadsPerBlock;
  properties->maxThreadsDim[2] = kMaxBlockZ;
  properties->maxGridSize[0] = kMaxGridX;
  properties->maxGridSize[1] = kMaxGridYZ;
  properties->maxGridSize[2] = kMaxGridYZ;
  properties->sharedMemPerBlock = kSharedPerBlock;
  properties->totalConstantMemory = kConstantBytes;
  properties->SIMDWidth = kWarp;
  properties->memPitch = 2147483647;
  properties->regsPerBlock = kRegistersPerMultiprocessor;
  properties->clockRate = 1000000;
  properties->textureAlign = 512;
  return CUDA_SUCCESS;
}

CUresult device_get_pci_bus_id(char* text, int length, CUdevice device) {
  const CUresult result = check_device(text, device);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  if (length <= 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::snprintf(text, static_cast<std::size_t>(length), "0000:%02X:00.0", kPciBusBase + device);
  return CUDA_SUCCESS;
}

CUresult device_get_by_pci_bus_id(CUdevice* device, const char* text) {
  const CUresult result = check_device(device, 0);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  if (text == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  unsigned domain = 0;
  unsigned bus = 0;
  unsigned slot = 0;
  if (std::sscanf(text, "%x:%x:%x", &domain, &bus, &slot) != 3) {
    domain = 0;
    if (std::sscanf(text, "%x:%x", &bus, &slot) != 2) {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  const int ordinal = static_cast<int>(bus) - kPciBusBase;
  if (domain != 0 || slot != 0 || check_device(device, ordinal) != CUDA_SUCCESS) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult device_can_access_peer(int* can, CUdevice device, CUdevice peer) {
  CUresult result = check_device(can, device);
  if (result == CUDA_SUCCESS) {
    result = check_device(can, peer);
  }
  if (result == CUDA_SUCCESS) {
    *can = device != peer ? 1 : 0;
  }
  return result;
}

CUresult device_get_p2p_attribute(int* value, CUdevice_P2PAttribute attribute, CUdevice source,
                                  CUdevice target) {
  const CUresult result = check_device(value, source);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  if (source == target || check_device(value, target) != CUDA_SUCCESS) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  *value = attribute == CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK ? 0 : 1;
  return CUDA_SUCCESS;
}

CUresult device_get_exec_affinity(int* supported, CUexecAffinityType /*type*/, CUdevice device) {
  const CUresult result = check_device(supported, device);
  if (result == CUDA_SUCCESS) {
    *supported = 0;
  }
  return result;
}

CUresult device_get_texture_width(std::size_t* width, CUarray_format /*format*/,
                                  unsigned /*channels*/, CUdevice device) {
  const CUresult result = check_device(width, device);
  if (result == CUDA_SUCCESS) {
    *width = 268435456;
  }
  return result;
}

}  // namespace

void fill_device_calls(DriverTable& table) {
  table.cuInit = init;
  table.cuDriverGetVersion = driver_get_version;
  table.cuDeviceGet = device_get;
  table.cuDeviceGetCount = device_get_count;
  table.cuDeviceGetName = device_get_name;
  table.cuDeviceGetUuid = device_get_uuid;
  table.cuDeviceTotalMem = device_total_mem;
  table.cuDeviceGetAttribute = device_get_attribute;
  table.cuDeviceComputeCapability = device_compute_capability;
  table.cuDeviceGetProperties = device_get_properties;
  table.cuDeviceGetPCIBusId = device_get_pci_bus_id;
  table.cuDeviceGetByPCIBusId = device_get_by_pci_bus_id;
  table.cuDeviceCanAccessPeer = device_can_access_peer;
  table.cuDeviceGetP2PAttribute = device_get_p2p_attribute;
  table.cuDeviceGetExecAffinitySupport = device_get_exec_affinity;
  table.cuDeviceGetTexture1DLinearMaxWidth = device_get_texture_width;
}

}  // namespace phos::sim
