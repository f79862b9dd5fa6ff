// SPDX-License-Identifier: Apache-2.0
// Reserves address space as a driver would.
#include <sys/mman.h>

#include <cstddef>

extern "C" __attribute__((visibility("default"))) void* reserve(void* hint, std::size_t bytes,
                                                               int prot, int flags) {
  return mmap(hint, bytes, prot, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
