// SPDX-License-Identifier: Apache-2.0
#include "client/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace phos::client {

namespace {

// Programs open descriptors and expect the lowest free number, or close the first few hundred.
constexpr int kFirstDescriptor = 400;

void* pointer_to(std::uint64_t address) noexcept {
  // SAFETY: used only to name addresses to mmap and madvise.
  return reinterpret_cast<void*>(address);
}

bool reserve(std::uint64_t base, std::uint64_t bytes) noexcept {
  void* at = pointer_to(base);
  void* mapped = mmap(at, bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (mapped == MAP_FAILED) return false;
  if (mapped != at) {  // a kernel that does not know MAP_FIXED_NOREPLACE
    munmap(mapped, bytes);
    errno = EEXIST;
    return false;
  }
  madvise(mapped, bytes, MADV_DONTDUMP);
  return true;
}

// The program may have closed the descriptor, and opened something else with its number.
bool is_still_ours(const MemoryFile& file) noexcept {
  if (file.fd < 0) return false;
  char link[64];
  char target[64] = "";
  snprintf(link, sizeof(link), "/proc/self/fd/%d", file.fd);
  struct stat facts{};
  const ssize_t length = readlink(link, target, sizeof(target) - 1);
  return length > 0 && strncmp(target, "/memfd:phos-", 12) == 0 && fstat(file.fd, &facts) == 0 &&
         static_cast<std::size_t>(facts.st_size) == file.bytes;
}

}  // namespace

void close_memory_file(const MemoryFile& file) noexcept {
  if (is_still_ours(file)) close(file.fd);
}

int lift_descriptor(int fd) noexcept {
  const int lifted = fcntl(fd, F_DUPFD_CLOEXEC, kFirstDescriptor);
  if (lifted < 0) return fd;  // a low limit on descriptors: the low number works as well
  close(fd);
  return lifted;
}

bool create_memory_file(const char* name, std::size_t bytes, void* at, bool populate,
                        MemoryFile* file) noexcept {
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return false;
  fd = lift_descriptor(fd);
  void* mapped = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(bytes)) == 0 &&
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) == 0) {
    const int flags = MAP_SHARED | (at != nullptr ? MAP_FIXED : 0) | (populate ? MAP_POPULATE : 0);
    // SAFETY: MAP_FIXED replaces only pages of the reserved window, which this library owns.
    mapped = mmap(at, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  }
  if (mapped == MAP_FAILED) {
    const int saved = errno;
    close(fd);
    errno = saved;
    return false;
  }
  // A child after fork must not write into its parent's ring and arenas.
  madvise(mapped, bytes, MADV_DONTFORK);
  *file = {fd, mapped, bytes};
  return true;
}

int descriptor_of(const MemoryFile& file, bool* is_new) noexcept {
  *is_new = false;
  if (is_still_ours(file)) return file.fd;
  char link[64];
  // The program closed it (closefrom and the like): the mapping itself leads back to the memory.
  const auto start = reinterpret_cast<unsigned long>(file.address);
  snprintf(link, sizeof(link), "/proc/self/map_files/%lx-%lx", start, start + file.bytes);
  *is_new = true;
  return open(link, O_RDWR | O_CLOEXEC);
}

bool reserve_windows() noexcept {
  static bool done = false;  // under the initialisation lock
  if (done) return true;
  if (!reserve(kDeviceWindow, kDeviceWindowBytes)) return false;
  if (!reserve(kArenaWindow, kArenaWindowBytes)) {
    const int saved = errno;
    munmap(pointer_to(kDeviceWindow), kDeviceWindowBytes);
    errno = saved;
    return false;
  }
  done = true;
  return true;
}

}  // namespace phos::client
