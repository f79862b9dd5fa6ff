// SPDX-License-Identifier: Apache-2.0
// Sends code images to the executor.
#pragma once

#include <cstdint>

#include "phos/cuda_abi.h"

namespace phos::client {

// Sends the image at `pointer` (whatever cuModuleLoadData takes) and gives the number by which the
// next load names it. CUDA_ERROR_INVALID_IMAGE for what is no image.
CUresult send_image(const void* pointer, std::uint64_t* image) noexcept;

// Reads a file of code into memory with a NUL behind it. The caller frees it.
CUresult read_image_file(const char* path, void** data) noexcept;

}  // namespace phos::client
