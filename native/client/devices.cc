// SPDX-License-Identifier: Apache-2.0
// Facts of devices, answered from what was fetched at attach.
#include <stdio.h>
#include <string.h>

#include "client/call.h"
#include "client/init.h"
#include "gen/client_impl.h"
#include "phos/device_page.h"

namespace phos::client {

namespace {

// The facts of a device that a call was given.
CUresult find(CUdevice device, const DeviceFacts** facts) noexcept {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  *facts = device_facts(device);
  return *facts == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

int fact(const DeviceFacts& facts, CUdevice_attribute attribute) noexcept {
  const std::int32_t value = facts.attributes[attribute];
  return value == INT32_MIN ? 0 : value;
}

}  // namespace

namespace impl {

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  const DeviceFacts* facts = nullptr;
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult status = find(ordinal, &facts); status != CUDA_SUCCESS) return status;
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *count = g_process.device_count;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char* name, int len, CUdevice dev) {
  const DeviceFacts* facts = nullptr;
  if (const CUresult status = find(dev, &facts); status != CUDA_SUCCESS) return status;
  if (name == nullptr || len <= 0) return CUDA_ERROR_INVALID_VALUE;
  snprintf(name, static_cast<std::size_t>(len), "%s", facts->name);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice dev) {
  const DeviceFacts* facts = nullptr;
  if (const CUresult status = find(dev, &facts); status != CUDA_SUCCESS) return status;
  if (uuid == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *uuid = facts->uuid;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetLuid(char* luid, unsigned int* deviceNodeMask, CUdevice dev) {
  const DeviceFacts* facts = nullptr;
  if (const CUresult status = find(dev, &facts); status != CUDA_SUCCESS) return status;
  if (luid == nullptr || deviceNodeMask == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (facts->luid_mask == 0) return CUDA_ERROR_NOT_SUPPORTED;  // a LUID is a thing of Windows
  memcpy(luid, facts->luid, sizeof(facts->luid));
  *deviceNodeMask = facts->luid_mask;
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t* bytes, CUdevice dev) {
  const DeviceFacts* facts = nullptr;
  if (const CUresult status = find(dev, &facts); status != CUDA_SUCCESS) return status;
  if (bytes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *bytes = facts->total_bytes;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* pi, CUdevice_attribute attrib, CUdevice dev) {
  const DeviceFacts* facts = nullptr;
  if (const CUresult status = find(dev, &facts); status != CUDA_SUCCESS) return status;
  const auto index = static_cast<std::uint32_t>(attrib);
  if (pi == nullptr || index == 0 || index >= kAttributeCount) return CUDA_ERROR_INVALID_VALUE;
  if (facts->attributes[index] == INT32_MIN) return CUDA_ERROR_INVALID_VALUE;
  *pi = facts->attributes[index];
  return CUDA_SUCCESS;
}

CUresult cuDeviceComputeCapability(int* major, int* minor, CUdevice dev) {
  const DeviceFacts* facts = nullptr;
  if (const CUresult status = find(dev, &facts); status != CUDA_SUCCESS) return status;
  if (major == nullptr || minor == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *major = fact(*facts, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  *minor = fact(*facts, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetProperties(CUdevprop* prop, CUdevice dev) {
  const DeviceFacts* facts = nullptr;
  if (const CUresult status = find(dev, &facts); status != CUDA_SUCCESS) return status;
  if (prop == nullptr) return CUDA_ERROR_INVALID_VALUE;
  prop->maxThreadsPerBlock = fact(*facts, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  prop->maxThreadsDim[0] = fact(*facts, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X);
  prop->maxThreadsDim[1] = fact(*facts, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y);
  prop->maxThreadsDim[2] = fact(*facts, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z);
  prop->maxGridSize[0] = fact(*facts, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X);
  prop->maxGridSize[1] = fact(*facts, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y);
  prop->maxGridSize[2] = fact(*facts, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z);
  prop->sharedMemPerBlock = fact(*facts, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
  prop->totalConstantMemory = fact(*facts, CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY);
  prop->SIMDWidth = fact(*facts, CU_DEVICE_ATTRIBUTE_WARP_SIZE);
  prop->memPitch = fact(*facts, CU_DEVICE_ATTRIBUTE_MAX_PITCH);
  prop->regsPerBlock = fact(*facts, CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK);
  prop->clockRate = fact(*facts, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
  prop->textureAlign = fact(*facts, CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char* pciBusId, int len, CUdevice dev) {
  const DeviceFacts* facts = nullptr;
  if (const CUresult status = find(dev, &facts); status != CUDA_SUCCESS) return status;
  if (pciBusId == nullptr || len < 13) return CUDA_ERROR_INVALID_VALUE;
  snprintf(pciBusId, static_cast<std::size_t>(len), "%04x:%02x:%02x.0",
           static_cast<unsigned>(fact(*facts, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)),
           static_cast<unsigned>(fact(*facts, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)),
           static_cast<unsigned>(fact(*facts, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)));
  return CUDA_SUCCESS;
}

// domain:bus:device.function, or without the domain, or without the function.
CUresult cuDeviceGetByPCIBusId(CUdevice* dev, const char* pciBusId) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (dev == nullptr || pciBusId == nullptr) return CUDA_ERROR_INVALID_VALUE;
  unsigned domain = 0;
  unsigned bus = 0;
  unsigned device = 0;
  if (sscanf(pciBusId, "%x:%x:%x", &domain, &bus, &device) != 3) {
    domain = 0;
    if (sscanf(pciBusId, "%x:%x", &bus, &device) != 2) return CUDA_ERROR_INVALID_VALUE;
  }
  for (int i = 0; i < g_process.device_count; ++i) {
    const DeviceFacts& facts = g_process.devices[i];
    if (static_cast<unsigned>(fact(facts, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)) == domain &&
        static_cast<unsigned>(fact(facts, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)) == bus &&
        static_cast<unsigned>(fact(facts, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)) == device) {
      *dev = i;
      return CUDA_SUCCESS;
    }
  }
  return CUDA_ERROR_INVALID_DEVICE;
}

// An executor has one device, and phos shares no memory between executors.
CUresult cuDeviceCanAccessPeer(int* canAccessPeer, CUdevice dev, CUdevice peerDev) {
  const DeviceFacts* facts = nullptr;
  if (const CUresult status = find(dev, &facts); status != CUDA_SUCCESS) return status;
  if (const CUresult status = find(peerDev, &facts); status != CUDA_SUCCESS) return status;
  if (canAccessPeer == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *canAccessPeer = 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetP2PAttribute(int* value, CUdevice_P2PAttribute attrib, CUdevice srcDevice,
                                 CUdevice dstDevice) {
  const DeviceFacts* facts = nullptr;
  if (const CUresult status = find(srcDevice, &facts); status != CUDA_SUCCESS) return status;
  if (const CUresult status = find(dstDevice, &facts); status != CUDA_SUCCESS) return status;
  if (value == nullptr || attrib < 1 || srcDevice == dstDevice) return CUDA_ERROR_INVALID_VALUE;
  *value = 0;
  return CUDA_SUCCESS;
}

}  // namespace impl
}  // namespace phos::client

// What the stand-in of the management library asks: attaches the program if it has not used CUDA
// yet. A CUresult; CUDA_ERROR_INVALID_DEVICE for a device that is not the program's.
extern "C" __attribute__((visibility("default"), used)) int phos_device_live(
    std::uint32_t ordinal, phos::DeviceLive* live) {
  namespace codec = phos::codec;
  if (live == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult status = phos::client::init(); status != CUDA_SUCCESS) return status;
  // The facts of "ordinal -1" are what changes: DeviceLive as the blob of the answer.
  codec::Req_phos_device_facts request{};
  request.ordinal = phos::kLiveFacts;
  request.attribute_count = ordinal;
  codec::Rep_phos_device_facts reply{};
  phos::client::OutBlob out[] = {{live, sizeof *live, 0}};
  const CUresult status = phos::client::call_sync(phos::CallId::phos_device_facts, request, {},
                                                  &reply, std::span(out));
  if (status != CUDA_SUCCESS) return status;
  return out[0].size == sizeof *live ? CUDA_SUCCESS : CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
}
