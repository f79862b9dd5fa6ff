// SPDX-License-Identifier: Apache-2.0
// The operations that PTX lets be approximate. They are computed in double from polynomials of our
// own and rounded once, so they are the same on every host, and closer to the true value than the
// hardware's; their last bits differ from hardware. The C library's functions are not used.
#include "float.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

// Adding and taking away this leaves a double of moderate size rounded to an integer.
constexpr double kRound = 0x1.8p52;

inline double to_double(float x) { return static_cast<double>(x); }

// 2^r for |r| <= 0.5 by Taylor's series of e^(r ln 2); the first term left out is below 2^-54.
inline double exp2_fraction(double r) {
  const double t = r * 0x1.62e42fefa39efp-1;
  double p = 1.0 / 6227020800.0;
  p = p * t + 1.0 / 479001600.0;
  p = p * t + 1.0 / 39916800.0;
  p = p * t + 1.0 / 3628800.0;
  p = p * t + 1.0 / 362880.0;
  p = p * t + 1.0 / 40320.0;
  p = p * t + 1.0 / 5040.0;
  p = p * t + 1.0 / 720.0;
  p = p * t + 1.0 / 120.0;
  p = p * t + 1.0 / 24.0;
  p = p * t + 1.0 / 6.0;
  p = p * t + 0.5;
  p = p * t + 1.0;
  return p * t + 1.0;
}

// 2^x; |x| is clamped first, which leaves results of singles at 0 and infinity where they belong.
inline double exp2_double(double x) {
  x = x > 300.0 ? 300.0 : x;
  x = x < -300.0 ? -300.0 : x;
  const double shifted = x + kRound;
  const double whole = shifted - kRound;
  const double value = exp2_fraction(x - whole);
  // The low bits of `shifted` are the integer; moved to the exponent they scale by 2^whole.
  const u64 scale = (bits_as<u64>(shifted) << 52) + (u64{1023} << 52);
  return value * bits_as<double>(scale);
}

struct Ex2 {
  static float apply(float x) {
    const auto result = static_cast<float>(exp2_double(to_double(x)));
    return x == x ? result : x;
  }
};

// log2 of a positive finite double: m in [sqrt(1/2), sqrt(2)), log m = 2 artanh((m-1)/(m+1)).
inline double log2_double(double x) {
  const u64 bits = bits_as<u64>(x);
  const u64 moved = bits - 0x3fe6a09e667f3bcd;
  const s64 exponent = static_cast<s64>(moved) >> 52;
  const double m = bits_as<double>(bits - (static_cast<u64>(exponent) << 52));
  const double s = (m - 1.0) / (m + 1.0);
  const double z = s * s;
  double p = 1.0 / 21.0;
  p = p * z + 1.0 / 19.0;
  p = p * z + 1.0 / 17.0;
  p = p * z + 1.0 / 15.0;
  p = p * z + 1.0 / 13.0;
  p = p * z + 1.0 / 11.0;
  p = p * z + 1.0 / 9.0;
  p = p * z + 1.0 / 7.0;
  p = p * z + 1.0 / 5.0;
  p = p * z + 1.0 / 3.0;
  p = p * z + 1.0;
  return static_cast<double>(exponent) + 0x1.71547652b82fep+1 * (s * p);
}

struct Lg2 {
  static float apply(float x) {
    float result = static_cast<float>(log2_double(x > 0.0F ? to_double(x) : 1.0));
    result = x == __builtin_inff() ? x : result;
    result = x == 0.0F ? -__builtin_inff() : result;
    return x >= 0.0F ? result : bits_as<float>(kNan32);
  }
};

struct SinCos {
  double sine, cosine;
  u64 quadrant;
};

// x = quadrant * pi/2 + r with pi/2 in three parts of 33 bits, whose products with the quadrant
// are exact up to 2^20. Hardware is useless beyond that too; r is kept small so that the result
// stays in [-1, 1].
inline SinCos sincos(double x) {
  x = x > 1e15 || x < -1e15 ? 0.0 : x;
  const double shifted = x * 0x1.45f306dc9c883p-1 + kRound;
  const double n = shifted - kRound;
  double r = ((x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69;
  r = r > 0.8 ? 0.8 : r;
  r = r < -0.8 ? -0.8 : r;
  const double z = r * r;
  double s = -1.0 / 1307674368000.0;
  s = s * z + 1.0 / 6227020800.0;
  s = s * z - 1.0 / 39916800.0;
  s = s * z + 1.0 / 362880.0;
  s = s * z - 1.0 / 5040.0;
  s = s * z + 1.0 / 120.0;
  s = s * z - 1.0 / 6.0;
  double c = 1.0 / 20922789888000.0;
  c = c * z - 1.0 / 87178291200.0;
  c = c * z + 1.0 / 479001600.0;
  c = c * z - 1.0 / 3628800.0;
  c = c * z + 1.0 / 40320.0;
  c = c * z - 1.0 / 720.0;
  c = c * z + 1.0 / 24.0;
  c = c * z - 0.5;
  return {r + r * (z * s), 1.0 + z * c, bits_as<u64>(shifted)};
}

inline bool is_finite(float x) { return (bits_as<u32>(x) & 0x7f800000U) != 0x7f800000U; }

template <u32 Shift>
struct Circular {
  static float apply(float x) {
    const SinCos both = sincos(is_finite(x) ? to_double(x) : 0.0);
    const u64 quadrant = both.quadrant + Shift;
    const double value = (quadrant & 1) != 0 ? both.cosine : both.sine;
    auto result = static_cast<float>((quadrant & 2) != 0 ? -value : value);
    if constexpr (Shift == 0) {
      result = x == 0.0F ? x : result;  // the sign of zero
    }
    return is_finite(x) ? result : bits_as<float>(kNan32);
  }
};
using Sin = Circular<0>;
using Cos = Circular<1>;

struct Tanh {
  static float apply(float x) {
    const double d = to_double(x);
    const double clamped = d > 40.0 ? 40.0 : d < -40.0 ? -40.0 : d;
    const double e = exp2_double(clamped * 0x1.71547652b82fep+1);
    const auto large = static_cast<float>(1.0 - 2.0 / (e + 1.0));
    const double z = d * d;
    const auto small = static_cast<float>(d + d * z * (-1.0 / 3.0 + z * (2.0 / 15.0)));
    const float magnitude = x < 0 ? -x : x;
    const float result = magnitude < 0.01F ? small : large;
    return x == x ? result : x;
  }
};

struct Rsqrt {
  static float apply(float x) {
    return static_cast<float>(1.0 / __builtin_sqrt(to_double(x)));
  }
};
struct Rcp {
  static float apply(float x) { return 1.0F / x; }
};
struct Sqrt {
  static float apply(float x) { return __builtin_sqrtf(x); }
};
struct DivFull {
  static float apply(float a, float b) { return a / b; }
};
// As hardware multiplies by an approximate reciprocal, which is 0 for the largest divisors.
struct DivApprox {
  static float apply(float a, float b) {
    const u32 magnitude = bits_as<u32>(b) & 0x7fffffffU;
    const bool huge = magnitude > 0x7e800000U && magnitude < 0x7f800000U;
    const float zero = bits_as<float>(bits_as<u32>(b) & 0x80000000U);
    return huge ? a * zero : a / b;
  }
};

// Doubles: only the upper word of operand and result counts.
inline double upper(double x) {
  return bits_as<double>(bits_as<u64>(x) & 0xffffffff00000000U);
}
inline double flush_double(double x) {
  const u64 bits = bits_as<u64>(x);
  return (bits & 0x7ff0000000000000U) == 0 ? bits_as<double>(bits & 0x8000000000000000U) : x;
}
template <bool Ftz>
struct Rcp64 {
  static double apply(double x) { return upper(flush_double(1.0 / flush_double(upper(x)))); }
};
template <bool Ftz>
struct Rsqrt64 {
  static double apply(double x) {
    const double a = Ftz ? flush_double(upper(x)) : upper(x);
    const double result = 1.0 / __builtin_sqrt(a);
    return result == result ? upper(result) : bits_as<double>(u64{0x7fffffff00000000});
  }
};

template <class H, class Operation, bool Ftz>
struct OnHalf {
  static u16 apply(u16 a) {
    const u16 in = Ftz && H::is_subnormal(a) ? static_cast<u16>(a & 0x8000U) : a;
    const u16 result = H::round(canonical(Operation::apply(H::widen(in))));
    return Ftz && H::is_subnormal(result) ? static_cast<u16>(result & 0x8000U) : result;
  }
};
template <class H, class Operation, bool Ftz>
struct OnPair {
  static u32 apply(u32 a) {
    using One = OnHalf<H, Operation, Ftz>;
    return u32{One::apply(static_cast<u16>(a))} |
           (u32{One::apply(static_cast<u16>(a >> 16))} << 16);
  }
};

template <class Operation>
Handler single(const Key& key) {
  return key.ftz ? unary<float, Around<Operation, kFtz>> : unary<float, Around<Operation, kPlain>>;
}
template <class Operation>
Handler quotient(const Key& key) {
  return key.ftz ? binary<float, Around<Operation, kFtz>>
                 : binary<float, Around<Operation, kPlain>>;
}

template <class Operation>
Handler any_width(const Key& key) {
  switch (key.type) {
    case Type::f32: return single<Operation>(key);
    case Type::f16:
      return key.ftz ? unary<u16, OnHalf<F16, Operation, true>>
                     : unary<u16, OnHalf<F16, Operation, false>>;
    case Type::f16x2:
      return key.ftz ? unary<u32, OnPair<F16, Operation, true>>
                     : unary<u32, OnPair<F16, Operation, false>>;
    case Type::bf16:
      return key.ftz ? unary<u16, OnHalf<Bf16, Operation, true>>
                     : unary<u16, OnHalf<Bf16, Operation, false>>;
    case Type::bf16x2:
      return key.ftz ? unary<u32, OnPair<Bf16, Operation, true>>
                     : unary<u32, OnPair<Bf16, Operation, false>>;
    default: return nullptr;
  }
}

}  // namespace

Handler find_approx(const Key& key) {
  const bool is_single = key.type == Type::f32;
  switch (key.op) {
    case Op::fex2: return any_width<Ex2>(key);
    case Op::ftanh: return any_width<Tanh>(key);
    case Op::flg2: return is_single ? single<Lg2>(key) : nullptr;
    case Op::fsin: return is_single ? single<Sin>(key) : nullptr;
    case Op::fcos: return is_single ? single<Cos>(key) : nullptr;
    case Op::frsqrt_approx: return is_single ? single<Rsqrt>(key) : nullptr;
    case Op::frcp_approx: return is_single ? single<Rcp>(key) : nullptr;
    case Op::fsqrt_approx: return is_single ? single<Sqrt>(key) : nullptr;
    case Op::fdiv_approx: return is_single ? quotient<DivApprox>(key) : nullptr;
    case Op::fdiv_full: return is_single ? quotient<DivFull>(key) : nullptr;
    case Op::frcp64h: return unary<double, Rcp64<true>>;
    case Op::frsqrt64h: return key.ftz ? unary<double, Rsqrt64<true>>
                                       : unary<double, Rsqrt64<false>>;
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
