// SPDX-License-Identifier: Apache-2.0
// How bytes travel. Arena memory and device memory are copied by address. Pageable memory of the
// program goes inline in the record, or through staging slots in pieces.
#pragma once

#include <cstdint>

#include "phos/cuda_abi.h"

namespace phos::client {

enum class Place : std::uint8_t { device, arena, pageable, invalid };

// Where [address, address + bytes) lies. `invalid`: in memory that CUDA manages, but not within one
// allocation.
Place place_of(std::uint64_t address, std::uint64_t bytes) noexcept;

// Copies in stream order. Pageable sources are read, and pageable targets written, before it
// returns, unless the stream captures. `wait`: returns when the bytes have arrived (the
// synchronous calls). Sides that are known to be one kind are said so; an address elsewhere is
// CUDA_ERROR_INVALID_VALUE.
struct Copy {
  std::uint64_t dst;
  std::uint64_t src;
  std::uint64_t bytes;
  std::uint64_t stream;  // wire form
  bool wait;
};
CUresult copy(const Copy& request, Place dst, Place src) noexcept;

}  // namespace phos::client
