// SPDX-License-Identifier: Apache-2.0
// Host memory that the executor shares: segments of the arena window, made as they are needed, so
// that a dump holds no large empty arena.
#pragma once

#include <cstdint>

#include "phos/cuda_abi.h"

namespace phos::client {

// Host memory at one address for program and device. Aligned to 4 KiB, zeroed when its segment is
// new.
CUresult allocate_host(std::uint64_t bytes, std::uint64_t* address) noexcept;
// Gives it back once nothing that was issued before can touch it (waits for that).
CUresult free_host(std::uint64_t address) noexcept;

}  // namespace phos::client
