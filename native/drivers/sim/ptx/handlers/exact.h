// SPDX-License-Identifier: Apache-2.0
// One conversion for all formats: a value is taken apart exactly and rounded once to its target.
// Slow and sure; convert.cc has faster ways for the common pairs.
#pragma once

#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {

// (-1)^negative * mantissa * 2^exponent, with `sticky` for bits below that are not zero.
struct Exact {
  enum class What : u8 { finite, infinite, nan };
  What what = What::finite;
  bool negative = false;
  s32 exponent = 0;
  u64 mantissa = 0;
};

// A binary format: bits of exponent and mantissa, and what its largest exponent means.
struct Format {
  u8 exponent_bits;
  u8 mantissa_bits;
  bool has_infinity;   // the largest exponent is infinity and NaN
  bool nan_all_ones;   // e4m3: only the pattern of all ones is NaN
  bool has_nan;
  u8 bytes;
  s32 bias() const { return (1 << (exponent_bits - 1)) - 1; }
};

inline constexpr Format kF64{11, 52, true, false, true, 8};
inline constexpr Format kF32{8, 23, true, false, true, 4};
inline constexpr Format kTf32{8, 10, true, false, true, 4};
inline constexpr Format kF16{5, 10, true, false, true, 2};
inline constexpr Format kBf16{8, 7, true, false, true, 2};
inline constexpr Format kE4m3{4, 3, false, true, true, 1};
inline constexpr Format kE5m2{5, 2, true, false, true, 1};
inline constexpr Format kE2m1{2, 1, false, false, false, 1};
inline constexpr Format kE2m3{2, 3, false, false, false, 1};
inline constexpr Format kE3m2{3, 2, false, false, false, 1};

inline Exact take_apart(u64 bits, const Format& f) {
  Exact x;
  const u64 mantissa_mask = (u64{1} << f.mantissa_bits) - 1;
  const u64 exponent_mask = (u64{1} << f.exponent_bits) - 1;
  x.mantissa = bits & mantissa_mask;
  const u64 exponent = (bits >> f.mantissa_bits) & exponent_mask;
  x.negative = ((bits >> (f.mantissa_bits + f.exponent_bits)) & 1) != 0;
  if (exponent == exponent_mask && f.has_infinity) {
    x.what = x.mantissa == 0 ? Exact::What::infinite : Exact::What::nan;
  } else if (exponent == exponent_mask && f.nan_all_ones && x.mantissa == mantissa_mask) {
    x.what = Exact::What::nan;
  } else {
    x.mantissa |= exponent != 0 ? u64{1} << f.mantissa_bits : 0;
    x.exponent = static_cast<s32>(exponent != 0 ? exponent : 1) - f.bias() - f.mantissa_bits;
  }
  return x;
}

inline Exact from_integer(u64 bits, bool is_negative) {
  Exact x;
  x.negative = is_negative;
  x.mantissa = is_negative ? 0 - bits : bits;
  return x;
}

// value / 2^shift as an integer, rounded; `inexact` tells whether something was lost.
inline u64 shift_rounded(u64 value, s32 shift, bool negative, Rounding rounding) {
  if (shift <= 0) {
    return value << -shift;
  }
  const u64 kept = shift > 63 ? 0 : value >> shift;
  const u64 lost = shift > 63 ? value : value & ((u64{1} << shift) - 1);
  if (lost == 0) {
    return kept;
  }
  const u64 half = shift > 64 ? ~u64{0} : u64{1} << (shift - 1);
  bool up = false;
  switch (rounding) {
    case Rounding::rz:
    case Rounding::rzi: break;
    case Rounding::rm:
    case Rounding::rmi: up = negative; break;
    case Rounding::rp:
    case Rounding::rpi: up = !negative; break;
    case Rounding::rna: up = shift <= 64 && lost >= half; break;
    default: up = shift <= 64 && (lost > half || (lost == half && (kept & 1) != 0)); break;
  }
  return kept + (up ? 1 : 0);
}

// Largest finite value, sign apart.
inline u64 largest(const Format& f) {
  const u64 all = (u64{1} << (f.mantissa_bits + f.exponent_bits)) - 1;
  return f.has_infinity ? all - (u64{1} << f.mantissa_bits) : f.nan_all_ones ? all - 1 : all;
}

inline u64 overflow(bool negative, Rounding rounding, const Format& f, bool to_finite) {
  const bool stays = to_finite || rounding == Rounding::rz ||
                     rounding == (negative ? Rounding::rp : Rounding::rm);
  if (stays || (!f.has_infinity && !f.nan_all_ones)) {
    return largest(f);
  }
  return f.has_infinity ? largest(f) + 1 : (u64{1} << (f.mantissa_bits + f.exponent_bits)) - 1;
}

inline u64 put_together(const Exact& x, const Format& f, Rounding rounding, bool to_finite) {
  const u64 sign = x.negative ? u64{1} << (f.mantissa_bits + f.exponent_bits) : 0;
  if (x.what == Exact::What::nan) {
    if (!f.has_nan) {
      return largest(f);
    }
    const u64 all = (u64{1} << (f.mantissa_bits + f.exponent_bits)) - 1;
    return f.mantissa_bits == 52 ? u64{0xfff8000000000000} : all;
  }
  if (x.what == Exact::What::infinite) {
    return sign | overflow(x.negative, Rounding::rn, f, to_finite);
  }
  if (x.mantissa == 0) {
    return sign;
  }
  const s32 length = 64 - __builtin_clzll(x.mantissa);
  const s32 least = 1 - f.bias() - f.mantissa_bits;  // exponent of the last bit of subnormals
  s32 last = x.exponent + length - 1 - f.mantissa_bits;
  last = last < least ? least : last;
  u64 mantissa = shift_rounded(x.mantissa, last - x.exponent, x.negative, rounding);
  if ((mantissa >> (f.mantissa_bits + 1)) != 0) {
    mantissa >>= 1;
    ++last;
  }
  if (mantissa == 0) {
    return sign;
  }
  const bool normal = (mantissa >> f.mantissa_bits) != 0;
  const s32 exponent = normal ? last - least + 1 : 0;
  if (exponent >= (1 << f.exponent_bits)) {
    return sign | overflow(x.negative, rounding, f, to_finite);
  }
  const u64 bits = (static_cast<u64>(exponent) << f.mantissa_bits) |
                   (mantissa & ((u64{1} << f.mantissa_bits) - 1));
  return sign | (bits > largest(f) ? overflow(x.negative, rounding, f, to_finite) : bits);
}

// To an integer of `bits`, saturating; NaN gives 0 (PTX lets it be 0 for 32 bits and less; 64-bit
// conversions of NaN give the largest magnitude of the sign bit on hardware, see convert.cc).
inline u64 to_integer(const Exact& x, u32 bits, bool is_signed_target, Rounding rounding) {
  const u64 most = is_signed_target ? (u64{1} << (bits - 1)) - 1
                   : bits == 64 ? ~u64{0} : (u64{1} << bits) - 1;
  const u64 least = is_signed_target ? u64{1} << (bits - 1) : 0;
  if (x.what == Exact::What::nan) {
    return 0;
  }
  u64 magnitude = ~u64{0};
  const s32 length = x.mantissa == 0 ? 0 : 64 - __builtin_clzll(x.mantissa);
  if (x.what == Exact::What::finite && x.exponent + length <= 64) {
    magnitude = shift_rounded(x.mantissa, -x.exponent, x.negative, rounding);
  }
  if (x.negative) {
    return 0 - (magnitude > least ? least : magnitude);
  }
  return magnitude > most ? most : magnitude;
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
