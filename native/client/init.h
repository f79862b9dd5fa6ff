// SPDX-License-Identifier: Apache-2.0
// cuInit: attaches this process to an executor, once.
#pragma once

#include "phos/cuda_abi.h"

namespace phos::client {

CUresult init() noexcept;

}  // namespace phos::client
