// SPDX-License-Identifier: Apache-2.0
#include "nvml/pages.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

namespace phos::nvml {

namespace {

bool read_page(const char* path, std::uint32_t ordinal, DevicePage* page) noexcept {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t count = read(fd, page, sizeof *page);
  close(fd);
  if (count != static_cast<ssize_t>(sizeof *page) || page->magic != kDevicePageMagic ||
      page->bytes != sizeof *page || page->ordinal != ordinal) {
    return false;
  }
  page->driver[sizeof page->driver - 1] = '\0';
  page->driver_version[sizeof page->driver_version - 1] = '\0';
  page->name[sizeof page->name - 1] = '\0';
  return true;
}

}  // namespace

std::uint32_t read_pages(const char* folder, DevicePage* pages, std::uint32_t capacity) noexcept {
  std::uint32_t count = 0;
  for (; count < capacity; ++count) {
    char path[640];
    const int length = snprintf(path, sizeof path, "%s/%s%u", folder, kDevicePageName, count);
    if (length < 0 || static_cast<std::size_t>(length) >= sizeof path) break;
    if (!read_page(path, count, &pages[count])) break;
  }
  return count;
}

void print_uuid(const DevicePage& page, char* text, std::size_t capacity) noexcept {
  const std::uint8_t* u = page.uuid;
  snprintf(text, capacity,
           "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
           u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
           u[15]);
}

bool is_at(const DevicePage& page, const char* text) noexcept {
  unsigned domain = 0;
  unsigned bus = 0;
  unsigned device = 0;
  if (sscanf(text, "%x:%x:%x", &domain, &bus, &device) != 3) {
    domain = 0;
    if (sscanf(text, "%x:%x", &bus, &device) != 2) return false;
  }
  return page.pci_domain == domain && page.pci_bus == bus && page.pci_device == device;
}

}  // namespace phos::nvml
