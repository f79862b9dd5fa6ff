// SPDX-License-Identifier: Apache-2.0
// What of NVML is answered from the pages: initialisation, counting, identity.
#include <stdio.h>
#include <string.h>

#include "nvml/pages.h"
#include "nvml/state.h"

using phos::DevicePage;
using phos::nvml::Device;
using phos::nvml::PciInfo;
using phos::nvml::PciInfoOld;
using phos::nvml::Return;

namespace {

constexpr int code(Return status) noexcept { return static_cast<int>(status); }

int give_text(const char* text, char* out, unsigned capacity) noexcept {
  if (out == nullptr) return code(Return::invalid_argument);
  const std::size_t bytes = strlen(text) + 1;
  if (bytes > capacity) return code(Return::insufficient_size);
  memcpy(out, text, bytes);
  return code(Return::success);
}

// Answers from the page of a device where there is one and `out` is not null.
template <class T, class Answer>
int from_page(Device device, T* out, Answer&& answer) noexcept {
  const DevicePage* page = nullptr;
  const Return status = phos::nvml::page_of(device, &page);
  if (status != Return::success) return code(status);
  if (out == nullptr) return code(Return::invalid_argument);
  answer(*page);
  return code(Return::success);
}

int count_devices(unsigned* count) noexcept {
  if (!phos::nvml::is_open()) return code(Return::uninitialized);
  if (count == nullptr) return code(Return::invalid_argument);
  *count = phos::nvml::device_count();
  return code(Return::success);
}

int by_index(unsigned index, Device* device) noexcept {
  if (!phos::nvml::is_open()) return code(Return::uninitialized);
  if (device == nullptr || index >= phos::nvml::device_count()) {
    return code(Return::invalid_argument);
  }
  *device = phos::nvml::device_at(index);
  return code(Return::success);
}

template <class Matches>
int find(const char* text, Device* device, Matches&& matches) noexcept {
  if (!phos::nvml::is_open()) return code(Return::uninitialized);
  if (text == nullptr || device == nullptr) return code(Return::invalid_argument);
  for (std::uint32_t i = 0; i < phos::nvml::device_count(); ++i) {
    if (!matches(phos::nvml::page_at(i))) continue;
    *device = phos::nvml::device_at(i);
    return code(Return::success);
  }
  return code(Return::not_found);
}

int by_bus(const char* text, Device* device) noexcept {
  return find(text, device,
              [text](const DevicePage& page) { return phos::nvml::is_at(page, text); });
}

int pci_of_old(Device device, PciInfoOld* pci) noexcept {
  return from_page(device, pci, [pci](const DevicePage& page) {
    *pci = {};
    snprintf(pci->id, sizeof pci->id, "%04X:%02X:%02X.0", page.pci_domain & 0xFFFF,
             page.pci_bus & 0xFF, page.pci_device & 0xFF);
    pci->domain = page.pci_domain;
    pci->bus = page.pci_bus;
    pci->device = page.pci_device;
  });
}

}  // namespace

extern "C" {

#define PHOS_EXPORT __attribute__((visibility("default"))) int

// Tells an executor that this is not the vendor's library.
__attribute__((visibility("default"), used)) extern const int phos_stand_in_management = 1;

PHOS_EXPORT nvmlInit() { return code(phos::nvml::open_state()); }
PHOS_EXPORT nvmlInit_v2() { return code(phos::nvml::open_state()); }
PHOS_EXPORT nvmlInitWithFlags(unsigned) { return code(phos::nvml::open_state()); }
PHOS_EXPORT nvmlShutdown() { return code(phos::nvml::close_state()); }

__attribute__((visibility("default"))) const char* nvmlErrorString(int status) {
  switch (static_cast<Return>(status)) {
    case Return::success: return "The operation was successful";
    case Return::uninitialized: return "NVML was not initialised";
    case Return::invalid_argument: return "An argument is invalid";
    case Return::not_supported: return "Not supported by phos for this device";
    case Return::not_found: return "Nothing of that name was found";
    case Return::insufficient_size: return "The buffer is too small";
    case Return::driver_not_loaded: return "No device is known: phosd does not run";
    case Return::function_not_found: return "The function was not found";
    case Return::version_mismatch: return "The version of the argument is not known";
    case Return::unknown: break;
  }
  return "Unknown error";
}

PHOS_EXPORT nvmlSystemGetDriverVersion(char* version, unsigned length) {
  if (!phos::nvml::is_open()) return code(Return::uninitialized);
  return give_text(phos::nvml::page_at(0).driver_version, version, length);
}
PHOS_EXPORT nvmlSystemGetNVMLVersion(char* version, unsigned length) {
  return give_text("13.0", version, length);
}
PHOS_EXPORT nvmlSystemGetCudaDriverVersion(int* version) {
  return from_page(phos::nvml::device_at(0), version,
                   [version](const DevicePage& page) { *version = page.cuda_version; });
}
PHOS_EXPORT nvmlSystemGetCudaDriverVersion_v2(int* version) {
  return nvmlSystemGetCudaDriverVersion(version);
}

PHOS_EXPORT nvmlDeviceGetCount(unsigned* count) { return count_devices(count); }
PHOS_EXPORT nvmlDeviceGetCount_v2(unsigned* count) { return count_devices(count); }
PHOS_EXPORT nvmlDeviceGetHandleByIndex(unsigned i, Device* device) { return by_index(i, device); }
PHOS_EXPORT nvmlDeviceGetHandleByIndex_v2(unsigned i, Device* device) {
  return by_index(i, device);
}
PHOS_EXPORT nvmlDeviceGetHandleByPciBusId(const char* id, Device* device) {
  return by_bus(id, device);
}
PHOS_EXPORT nvmlDeviceGetHandleByPciBusId_v2(const char* id, Device* device) {
  return by_bus(id, device);
}
PHOS_EXPORT nvmlDeviceGetHandleByUUID(const char* uuid, Device* device) {
  return find(uuid, device, [uuid](const DevicePage& page) {
    char text[48];
    phos::nvml::print_uuid(page, text, sizeof text);
    return strcmp(text, uuid) == 0;
  });
}

PHOS_EXPORT nvmlDeviceGetName(Device device, char* name, unsigned length) {
  const DevicePage* page = nullptr;
  const Return status = phos::nvml::page_of(device, &page);
  return status != Return::success ? code(status) : give_text(page->name, name, length);
}
PHOS_EXPORT nvmlDeviceGetUUID(Device device, char* uuid, unsigned length) {
  const DevicePage* page = nullptr;
  const Return status = phos::nvml::page_of(device, &page);
  if (status != Return::success) return code(status);
  char text[48];
  phos::nvml::print_uuid(*page, text, sizeof text);
  return give_text(text, uuid, length);
}
PHOS_EXPORT nvmlDeviceGetIndex(Device device, unsigned* index) {
  return from_page(device, index, [index](const DevicePage& page) { *index = page.ordinal; });
}
// The number of the device file; programs under phos open none.
PHOS_EXPORT nvmlDeviceGetMinorNumber(Device device, unsigned* minor) {
  return from_page(device, minor, [minor](const DevicePage& page) { *minor = page.ordinal; });
}
PHOS_EXPORT nvmlDeviceGetCudaComputeCapability(Device device, int* major, int* minor) {
  if (minor == nullptr) return code(Return::invalid_argument);
  return from_page(device, major, [major, minor](const DevicePage& page) {
    *major = page.compute_major;
    *minor = page.compute_minor;
  });
}

PHOS_EXPORT nvmlDeviceGetPciInfo(Device device, PciInfoOld* pci) {
  return pci_of_old(device, pci);
}
PHOS_EXPORT nvmlDeviceGetPciInfo_v2(Device device, PciInfoOld* pci) {
  return pci_of_old(device, pci);
}
PHOS_EXPORT nvmlDeviceGetPciInfo_v3(Device device, PciInfo* pci) {
  return from_page(device, pci, [pci](const DevicePage& page) {
    *pci = {};
    const unsigned bus = page.pci_bus & 0xFF;
    const unsigned slot = page.pci_device & 0xFF;
    snprintf(pci->legacy_id, sizeof pci->legacy_id, "%04X:%02X:%02X.0", page.pci_domain & 0xFFFF,
             bus, slot);
    snprintf(pci->id, sizeof pci->id, "%08X:%02X:%02X.0", page.pci_domain, bus, slot);
    pci->domain = page.pci_domain;
    pci->bus = page.pci_bus;
    pci->device = page.pci_device;
  });
}

// MIG slices are not handed to programs under phos, and executors share no memory with each other.
PHOS_EXPORT nvmlDeviceGetMigMode(Device device, unsigned* current, unsigned* pending) {
  if (pending == nullptr) return code(Return::invalid_argument);
  return from_page(device, current, [current, pending](const DevicePage&) {
    *current = 0;
    *pending = 0;
  });
}
PHOS_EXPORT nvmlDeviceIsMigDeviceHandle(Device device, unsigned* is_mig) {
  return from_page(device, is_mig, [is_mig](const DevicePage&) { *is_mig = 0; });
}
PHOS_EXPORT nvmlDeviceGetMaxMigDeviceCount(Device device, unsigned* count) {
  return from_page(device, count, [count](const DevicePage&) { *count = 0; });
}
PHOS_EXPORT nvmlDeviceGetP2PStatus(Device one, Device other, int, int* status) {
  const DevicePage* page = nullptr;
  const Return found = phos::nvml::page_of(other, &page);
  if (found != Return::success) return code(found);
  return from_page(one, status, [=](const DevicePage&) {
    *status = one == other ? 0 : phos::nvml::kPeerNotSupported;
  });
}

}  // extern "C"
