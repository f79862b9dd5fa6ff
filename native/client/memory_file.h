// SPDX-License-Identifier: Apache-2.0
// Memory files (memfd) that the client shares with its executor, and keeps, so that its agent can
// send them again after a restore.
#pragma once

#include <cstddef>
#include <cstdint>

#include "phos/address_window.h"

namespace phos::client {

struct MemoryFile {
  int fd = -1;
  void* address = nullptr;
  std::size_t bytes = 0;
};

// Creates, seals against shrinking and maps. `at` is where (replacing what is mapped there), or
// nullptr for anywhere. False with errno set; nothing is left behind then.
bool create_memory_file(const char* name, std::size_t bytes, void* at, bool populate,
                        MemoryFile* file) noexcept;
// The descriptor to send: the one kept, or, where the program has closed or reused its number, a
// new one of the same memory, which the caller closes (*is_new). -1 where there is none.
int descriptor_of(const MemoryFile& file, bool* is_new) noexcept;

// Closes the descriptor if it is still this file's.
void close_memory_file(const MemoryFile& file) noexcept;

// A copy of the descriptor out of the way of the low numbers that programs count on; closes `fd`.
int lift_descriptor(int fd) noexcept;

#if defined(__SANITIZE_THREAD__)
inline constexpr std::uint64_t kDeviceWindow = kDeviceWindowBaseTsan;
inline constexpr std::uint64_t kArenaWindow = kArenaWindowBaseTsan;
#else
inline constexpr std::uint64_t kDeviceWindow = kDeviceWindowBase;
inline constexpr std::uint64_t kArenaWindow = kArenaWindowBase;
#endif

// Reserves both windows PROT_NONE, once. False with errno set.
bool reserve_windows() noexcept;

inline bool in_device_window(std::uint64_t address) noexcept {
  return address - kDeviceWindow < kDeviceWindowBytes;
}
inline bool in_arena_window(std::uint64_t address) noexcept {
  return address - kArenaWindow < kArenaWindowBytes;
}

}  // namespace phos::client
