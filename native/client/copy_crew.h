// SPDX-License-Identifier: Apache-2.0
// Several threads for the pieces of one large pageable copy: one core moves about 10 GB/s between
// the program's pages and staging, the device takes five times that.
#pragma once

#include <cstdint>

#include "phos/cuda_abi.h"

namespace phos::client {

inline constexpr std::uint32_t kMaxCrew = 8;
// A thread is started for each so many pieces; starting one costs as much as copying 200 KiB.
inline constexpr std::uint64_t kPiecesEach = 4;

using Piece = CUresult (*)(void* context, std::uint64_t index);

// How many threads, the caller's included, share `pieces`: half the cores that this process may
// use, at least two, at most kMaxCrew.
std::uint32_t crew_size(std::uint64_t pieces) noexcept;

// Runs `piece` for every index below `pieces`, in any order, on the calling thread and on others
// that live no longer than this call. After a failure no new piece begins. Returns the first
// failure once nobody works on a piece any more.
CUresult run_pieces(std::uint64_t pieces, Piece piece, void* context) noexcept;

}  // namespace phos::client
