// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace phos::sim {

struct Settings {
  std::uint32_t devices = 1;
  std::uint64_t memory_bytes = 4ULL << 30;  // of each device
  std::uint32_t threads = 1;                // that run the blocks of a grid
  std::optional<std::uint64_t> seed;        // set: the seeded scheduler
};

// What the environment asks for. On a malformed value: nothing, and a line on stderr that names it.
std::optional<Settings> read_settings();

}  // namespace phos::sim
