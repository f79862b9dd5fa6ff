// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "drivers/sim/memory/texture_table.h"
#include "gen/driver_table.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

// A texture or surface object: what kernels see, and what it was made from.
struct TextureObject : TextureView {
  std::uint64_t context = 0;  // handle
  std::uint64_t array = 0;    // handle; 0: memory with an address
  CUDA_RESOURCE_DESC resource{};
  CUDA_TEXTURE_DESC description{};
};

// The array's memory is about to go: kernels that still read it through a texture fault.
void detach_textures_of(std::uint64_t array);

// Bytes of one channel; 0 for formats that sim does not have.
std::uint64_t channel_bytes(CUarray_format format) noexcept;

void fill_texture_calls(DriverTable& table);

}  // namespace phos::sim
