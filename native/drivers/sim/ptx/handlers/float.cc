// SPDX-License-Identifier: Apache-2.0
// Single and double precision, rounded to nearest. Every result is the IEEE one.
#include <cmath>

#include "float.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

struct Add {
  template <class T> static T apply(T a, T b) { return a + b; }
};
struct Sub {
  template <class T> static T apply(T a, T b) { return a - b; }
};
struct Mul {
  template <class T> static T apply(T a, T b) { return a * b; }
};
struct Div {
  template <class T> static T apply(T a, T b) { return a / b; }
};
struct Rcp {
  template <class T> static T apply(T a) { return T{1} / a; }
};
struct Sqrt {
  static float apply(float a) { return __builtin_sqrtf(a); }
  static double apply(double a) { return __builtin_sqrt(a); }
};
struct Fma {
  static float apply(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static double apply(double a, double b, double c) { return __builtin_fma(a, b, c); }
};

template <class T>
using Bits = std::conditional_t<sizeof(T) == 8, u64, u32>;
template <class T>
inline constexpr Bits<T> kSign = Bits<T>{1} << (8 * sizeof(T) - 1);

// Sign operations do not flush NaN to one form: they are moves of bits, apart from .ftz.
template <u8 Flags>
struct Abs {
  template <class T> static T apply(T a) {
    return bits_as<T>(static_cast<Bits<T>>(bits_as<Bits<T>>(input<T, Flags>(a)) & ~kSign<T>));
  }
};
template <u8 Flags>
struct Neg {
  template <class T> static T apply(T a) {
    return bits_as<T>(static_cast<Bits<T>>(bits_as<Bits<T>>(input<T, Flags>(a)) ^ kSign<T>));
  }
};
struct CopySign {  // sign of a, magnitude of b
  template <class T> static T apply(T a, T b) {
    return bits_as<T>(static_cast<Bits<T>>((bits_as<Bits<T>>(a) & kSign<T>) |
                                           (bits_as<Bits<T>>(b) & ~kSign<T>)));
  }
};

// -0 is less than +0. A NaN loses against a number, unless NaN is asked for.
template <bool Max, bool PropagateNan, bool XorSign>
struct Choose {
  template <class T> static T apply(T a, T b) {
    Bits<T> sign = 0;
    if constexpr (XorSign) {
      sign = (bits_as<Bits<T>>(a) ^ bits_as<Bits<T>>(b)) & kSign<T>;
      a = Abs<kPlain>::apply(a);
      b = Abs<kPlain>::apply(b);
    }
    const bool a_negative = (bits_as<Bits<T>>(a) & kSign<T>) != 0;
    const bool first = a == b ? a_negative != Max : Max ? a > b : a < b;
    T result = first ? a : b;
    result = a != a ? b : result;
    result = b != b ? a : result;
    if constexpr (PropagateNan) {
      result = a != a ? a : result;
    }
    if constexpr (XorSign) {
      return result == result ? bits_as<T>(static_cast<Bits<T>>(bits_as<Bits<T>>(result) | sign))
                              : result;
    }
    return result;
  }
};
template <bool Max, bool XorSign>
struct Choose<Max, true, XorSign> {
  template <class T> static T apply(T a, T b) {
    return a != a ? a : b != b ? b : Choose<Max, false, XorSign>::apply(a, b);
  }
};

template <class Operation, class T>
Handler one(const Key& key) {
  const u8 flags = static_cast<u8>((key.ftz ? kFtz : 0) | (key.sat ? kSat : 0));
  switch (flags) {
    case kPlain: return unary<T, Around<Operation, kPlain>>;
    case kFtz: return unary<T, Around<Operation, kFtz>>;
    default: return nullptr;
  }
}
template <class Operation, class T>
Handler two(const Key& key) {
  const u8 flags = static_cast<u8>((key.ftz ? kFtz : 0) | (key.sat ? kSat : 0));
  switch (flags) {
    case kPlain: return binary<T, Around<Operation, kPlain>>;
    case kFtz: return binary<T, Around<Operation, kFtz>>;
    case kSat: return binary<T, Around<Operation, kSat>>;
    default: return binary<T, Around<Operation, kFtz | kSat>>;
  }
}
template <class Operation, class T>
Handler three(const Key& key) {
  const u8 flags = static_cast<u8>((key.ftz ? kFtz : 0) | (key.sat ? kSat : 0));
  switch (flags) {
    case kPlain: return ternary<T, Around<Operation, kPlain>>;
    case kFtz: return ternary<T, Around<Operation, kFtz>>;
    case kSat: return ternary<T, Around<Operation, kSat>>;
    default: return ternary<T, Around<Operation, kFtz | kSat>>;
  }
}

template <bool Max, class T>
Handler choose(const Key& key, bool nan, bool xorsign) {
  if (xorsign) {
    return nan ? two<Choose<Max, true, true>, T>(key) : two<Choose<Max, false, true>, T>(key);
  }
  return nan ? two<Choose<Max, true, false>, T>(key) : two<Choose<Max, false, false>, T>(key);
}

template <class T, u8 Test>
void testp(Warp& w, const Instr& i, u32 mask) {
  const Bits<T>* a = slot<Bits<T>>(w, i.a);
  constexpr Bits<T> infinity = sizeof(T) == 8 ? static_cast<Bits<T>>(u64{0x7ff} << 52)
                                              : static_cast<Bits<T>>(0x7f800000U);
  constexpr Bits<T> smallest = sizeof(T) == 8 ? static_cast<Bits<T>>(u64{1} << 52)
                                              : static_cast<Bits<T>>(0x00800000U);
  const u32 result = test_lanes([=](u32 l) {
    const Bits<T> m = a[l] & ~kSign<T>;
    switch (Test) {
      case 0: return m < infinity;
      case 1: return m == infinity;
      case 2: return m <= infinity;
      case 3: return m > infinity;
      case 4: return m >= smallest && m < infinity;
      default: return m < smallest && m != 0;
    }
  });
  set_predicate(w, i.d, result, mask);
}

template <class T>
Handler testp_of(Op op) {
  switch (op) {
    case Op::testp_finite: return testp<T, 0>;
    case Op::testp_infinite: return testp<T, 1>;
    case Op::testp_number: return testp<T, 2>;
    case Op::testp_notanumber: return testp<T, 3>;
    case Op::testp_normal: return testp<T, 4>;
    case Op::testp_subnormal: return testp<T, 5>;
    default: return nullptr;
  }
}

template <class T>
Handler arithmetic(const Key& key) {
  switch (key.op) {
    case Op::fadd: return two<Add, T>(key);
    case Op::fsub: return two<Sub, T>(key);
    case Op::fmul: return two<Mul, T>(key);
    case Op::ffma: return three<Fma, T>(key);
    case Op::fdiv: return two<Div, T>(key);
    case Op::frcp: return one<Rcp, T>(key);
    case Op::fsqrt: return one<Sqrt, T>(key);
    case Op::fabs: return key.ftz ? unary<T, Abs<kFtz>> : unary<T, Abs<kPlain>>;
    case Op::fneg: return key.ftz ? unary<T, Neg<kFtz>> : unary<T, Neg<kPlain>>;
    case Op::copysign: return binary<T, CopySign>;
    case Op::fmin: return choose<false, T>(key, false, false);
    case Op::fmax: return choose<true, T>(key, false, false);
    case Op::fmin_nan: return choose<false, T>(key, true, false);
    case Op::fmax_nan: return choose<true, T>(key, true, false);
    case Op::fmin_xorsign: return choose<false, T>(key, false, true);
    case Op::fmax_xorsign: return choose<true, T>(key, false, true);
    case Op::fmin_nan_xorsign: return choose<false, T>(key, true, true);
    case Op::fmax_nan_xorsign: return choose<true, T>(key, true, true);
    default: return testp_of<T>(key.op);
  }
}

}  // namespace

Handler find_float(const Key& key) {
  if (key.rounding != Rounding::none && key.rounding != Rounding::rn) {
    return nullptr;
  }
  return key.type == Type::f32 ? arithmetic<float>(key)
         : key.type == Type::f64 ? arithmetic<double>(key) : nullptr;
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
