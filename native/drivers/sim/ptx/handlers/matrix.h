// SPDX-License-Identifier: Apache-2.0
// What matrix instructions are told, as words of the function's extra list that the instruction's
// target points to; the slots of their fragments follow.
#pragma once

#include <cstdint>

namespace phos::sim::ptx {

// mma and wmma.mma: fragments a, b, c, d follow.
struct MmaSpec {
  std::uint32_t m, n, k;
  std::uint32_t a_type, b_type, c_type, d_type;
  std::uint32_t saturate;
  std::uint32_t bit_and;     // of single bits: and instead of xor
  std::uint32_t is_wmma;
  std::uint32_t a_count, b_count, c_count, d_count;  // registers
};
inline constexpr std::uint32_t kMmaWords = sizeof(MmaSpec) / 4;

// wmma.load and wmma.store: the fragment follows.
struct TileSpec {
  std::uint32_t rows, columns;
  std::uint32_t type;
  std::uint32_t row_major;
  std::uint32_t space;
  std::uint32_t wide_address;
  std::uint32_t stride_slot;  // in elements, one word a lane
  std::uint32_t count;        // registers
};
inline constexpr std::uint32_t kTileWords = sizeof(TileSpec) / 4;

}  // namespace phos::sim::ptx
