// SPDX-License-Identifier: Apache-2.0
// Half-precision values as bits. All of it is integer and exact float work that the compiler can
// turn into vector code, so both builds give the same bits.
#pragma once

#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {

inline constexpr u32 kNan32 = 0x7fffffff;
inline constexpr u16 kNan16 = 0x7fff;

struct F16 {
  using Bits = u16;
  // Exact for every value: the scale by 2^112 moves the exponent from one bias to the other,
  // subnormals included.
  static float widen(u16 h) {
    const u32 magnitude = u32{h} & 0x7fffU;
    const float scaled = bits_as<float>(magnitude << 13) * 0x1p112F;
    const u32 special = (magnitude << 13) | 0x7f800000U;
    const u32 bits = magnitude >= 0x7c00U ? special : bits_as<u32>(scaled);
    return bits_as<float>(bits | ((u32{h} & 0x8000U) << 16));
  }
  static u16 round(float value) {
    const u32 bits = bits_as<u32>(value);
    const u32 magnitude = bits & 0x7fffffffU;
    const u32 sign = (bits >> 16) & 0x8000U;
    // Adding one half leaves the result's last bits at 2^-24, the smallest subnormal.
    const u32 small = bits_as<u32>(bits_as<float>(magnitude) + 0.5F) - 0x3f000000U;
    const u32 normal = (magnitude + 0xc8000fffU + ((magnitude >> 13) & 1U)) >> 13;
    u32 result = magnitude < 0x38800000U ? small : normal;
    result = magnitude >= 0x47800000U ? 0x7c00U : result;
    return static_cast<u16>(magnitude > 0x7f800000U ? u32{kNan16} : result | sign);
  }
  static bool is_subnormal(u16 h) { return (h & 0x7c00U) == 0; }
  static constexpr u16 kInfinity = 0x7c00;
};

struct Bf16 {
  using Bits = u16;
  static float widen(u16 h) { return bits_as<float>(u32{h} << 16); }
  static u16 round(float value) {
    const u32 bits = bits_as<u32>(value);
    const u32 result = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    return static_cast<u16>((bits & 0x7fffffffU) > 0x7f800000U ? u32{kNan16} : result);
  }
  static bool is_subnormal(u16 h) { return (h & 0x7f80U) == 0; }
  static constexpr u16 kInfinity = 0x7f80;
};

// Rounds to odd: what follows can then round once more without a double-rounding error.
inline float narrow_odd(double value) {
  const auto nearest = static_cast<float>(value);
  u32 bits = bits_as<u32>(nearest);
  const double back = nearest;
  if (back != value && value == value) {
    const bool beyond = (back < 0 ? -back : back) > (value < 0 ? -value : value);
    bits = (beyond ? bits - 1 : bits) | 1U;
  }
  return bits_as<float>(bits);
}

// a * b + c with one rounding at the end: the product of two halves is exact in double, and the
// error of the sum (Knuth's two-sum) decides which neighbour is odd.
template <class H>
u16 fma_half(u16 a, u16 b, u16 c) {
  const double product = double{H::widen(a)} * double{H::widen(b)};
  const double addend = H::widen(c);
  const double sum = product + addend;
  const double part = sum - product;
  const double error = (product - (sum - part)) + (addend - part);
  u64 bits = bits_as<u64>(sum);
  if (error != 0 && error == error && (bits & 1U) == 0) {
    bits += (error < 0) == (sum < 0) ? 1 : ~u64{0};
  }
  return H::round(narrow_odd(bits_as<double>(bits)));
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
