// SPDX-License-Identifier: Apache-2.0
// From the many ways in which the API describes a copy to the one that operations know.
#pragma once

#include "drivers/sim/operations.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

// Where the two sides of a copy lie, which decides what an asynchronous call must wait for.
struct CopySides {
  bool source_pageable = false;
  bool destination_pageable = false;
};

// Checks ranges and pitches. Errors: CUDA_ERROR_INVALID_VALUE; INVALID_HANDLE for what is
// no array. The runtime lock is held.
CUresult shape_of(const CUDA_MEMCPY3D& copy, CopyShape& shape, CopySides& sides);
CUresult linear_shape(CUdeviceptr destination, CUdeviceptr source, std::size_t bytes,
                      CopyShape& shape, CopySides& sides);
// The description that gives this shape, for queries of graph nodes.
CUDA_MEMCPY3D describe_shape(const CopyShape& shape);

// Memory operands of a memset.
CUresult check_memset(const MemsetShape& shape);

}  // namespace phos::sim
