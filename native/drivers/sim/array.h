// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "phos/cuda_abi.h"

namespace phos::sim {

// An array: rows one after the other in device memory that has no address for programs. Kernels
// read and write it through texture and surface objects.
struct Array {
  std::uint64_t handle = 0;
  std::uint64_t context = 0;  // handle
  std::uint64_t base = 0;     // device address of the memory behind it
  std::uint64_t element_bytes = 0;
  CUDA_ARRAY3D_DESCRIPTOR description{};

  std::uint64_t row_bytes() const noexcept { return description.Width * element_bytes; }
  std::uint64_t rows() const noexcept {
    return description.Height == 0 ? 1 : description.Height;
  }
  std::uint64_t slices() const noexcept { return description.Depth == 0 ? 1 : description.Depth; }
};

// The array behind a handle; null: no such array. The runtime lock is held.
Array* find_array(CUarray handle);

}  // namespace phos::sim
