// SPDX-License-Identifier: Apache-2.0
// What arrays hold. Their layout in memory is the driver's own, so it goes through copies.
#pragma once

#include <string>

#include "executor/blob_store.h"
#include "executor/session.h"

namespace phos::executor {

// Why an array cannot be saved; empty when it can.
std::string why_array_is_lost(Session& session, const Object& array);

// The elements of an array, row by row. Throws DEVICE. At rest.
Blob read_array(Session& session, const Object& array);
// Fills an array of the same shape. CUDA_ERROR_INVALID_VALUE where it has another size.
CUresult write_array(Session& session, const Object& array, const Blob& elements);

}  // namespace phos::executor
