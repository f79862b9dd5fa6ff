// SPDX-License-Identifier: Apache-2.0
#include "executor/device_page.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "executor/executor.h"
#include "phos/device_page.h"

namespace phos::executor {

namespace {

std::uint32_t fact(const DriverTable& driver, CUdevice device, CUdevice_attribute which) {
  int value = 0;
  return driver.cuDeviceGetAttribute(&value, which, device) == CUDA_SUCCESS && value > 0
             ? static_cast<std::uint32_t>(value)
             : 0;
}

// The kernel module says its version: "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95 ..."
void module_version(char* text, std::size_t capacity) {
  std::FILE* file = std::fopen("/proc/driver/nvidia/version", "re");
  char line[256] = "";
  if (file != nullptr && std::fgets(line, sizeof line, file) == nullptr) line[0] = '\0';
  if (file != nullptr) std::fclose(file);
  const char* start = std::strstr(line, "Module");
  char version[64] = "";
  if (start != nullptr) start = std::strpbrk(start, "0123456789");
  if (start != nullptr && std::sscanf(start, "%63[0-9.]", version) == 1) {
    std::snprintf(text, capacity, "%s", version);
  }
}

bool write_whole(const std::string& path, const DevicePage& page) {
  const std::string temporary = path + "." + std::to_string(::getpid());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  // Every program of the node may read it, whatever the umask says.
  bool good = ::fchmod(fd, 0644) == 0;
  good = good && ::write(fd, &page, sizeof page) == static_cast<ssize_t>(sizeof page);
  good = ::close(fd) == 0 && good;
  good = good && ::rename(temporary.c_str(), path.c_str()) == 0;
  if (!good) ::unlink(temporary.c_str());
  return good;
}

}  // namespace

void write_device_page(const DriverTable& driver, CUdevice device, const DeviceFacts& facts,
                       const std::string& ring_socket_path) {
  const std::size_t executors = ring_socket_path.rfind("/executors/");
  if (executors == std::string::npos) return;
  DevicePage page{};
  page.magic = kDevicePageMagic;
  page.bytes = sizeof page;
  page.ordinal = static_cast<std::uint32_t>(facts.ordinal);
  std::snprintf(page.driver, sizeof page.driver, "%s", facts.driver.c_str());
  std::snprintf(page.driver_version, sizeof page.driver_version, "phos-%s", facts.driver.c_str());
  if (facts.driver == "cuda") module_version(page.driver_version, sizeof page.driver_version);
  std::snprintf(page.name, sizeof page.name, "%s", facts.name.c_str());
  CUuuid uuid{};
  if (driver.cuDeviceGetUuid(&uuid, device) == CUDA_SUCCESS) {
    std::memcpy(page.uuid, &uuid, sizeof page.uuid);
  }
  page.pci_domain = fact(driver, device, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
  page.pci_bus = fact(driver, device, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
  page.pci_device = fact(driver, device, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
  page.cuda_version = facts.driver_version;
  page.compute_major = facts.compute_major;
  page.compute_minor = facts.compute_minor;
  page.total_bytes = facts.total_bytes;
  const std::string path =
      ring_socket_path.substr(0, executors + 1) + kDevicePageName + std::to_string(facts.ordinal);
  if (!write_whole(path, page)) {
    std::fprintf(stderr, "%s cannot be written: programs find no management library\n",
                 path.c_str());
  }
}

}  // namespace phos::executor
