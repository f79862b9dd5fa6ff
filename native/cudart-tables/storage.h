// SPDX-License-Identifier: Apache-2.0
// Values that the runtime keeps with a context. Reading is on the way of every runtime call, so it
// takes no lock.
#pragma once

#include "phos/cuda_abi.h"

namespace phos::cudart_tables {

using Destructor = void (*)(CUcontext context, void* key, void* value);

// CUDA_ERROR_INVALID_VALUE for a key that is there; CUDA_ERROR_OUT_OF_MEMORY where kMost are taken.
CUresult put_value(CUcontext context, void* key, void* value, Destructor destructor) noexcept;
// CUDA_ERROR_INVALID_HANDLE where there is none (both).
CUresult delete_value(CUcontext context, void* key) noexcept;
CUresult get_value(CUcontext context, void* key, void** value) noexcept;

}  // namespace phos::cudart_tables
