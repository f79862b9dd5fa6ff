// SPDX-License-Identifier: Apache-2.0
// Arithmetic on f16 and bf16, alone and in pairs. Sums and products are computed as singles, whose
// 24 bits are enough for one correct rounding to half; fma goes through a rounding to odd.
#include "half.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

enum HalfFlags : u8 { kPlain = 0, kFtz = 1, kSat = 2, kRelu = 4 };

template <class H, u8 Flags>
inline u16 input(u16 h) {
  return (Flags & kFtz) != 0 && H::is_subnormal(h) ? static_cast<u16>(h & 0x8000U) : h;
}

template <class H>
inline bool is_nan(u16 h) {
  return (h & 0x7fffU) > H::kInfinity;
}

template <class H, u8 Flags>
inline u16 output(u16 h) {
  h = input<H, Flags>(h);
  if constexpr ((Flags & kSat) != 0) {
    const u16 one = H::round(1.0F);
    h = is_nan<H>(h) || (h & 0x8000U) != 0 ? u16{0} : h > one ? one : h;
  }
  if constexpr ((Flags & kRelu) != 0) {
    h = is_nan<H>(h) ? kNan16 : (h & 0x8000U) != 0 ? u16{0} : h;
  }
  return is_nan<H>(h) ? kNan16 : h;
}

struct Add {
  template <class H> static u16 apply(u16 a, u16 b) { return H::round(H::widen(a) + H::widen(b)); }
};
struct Sub {
  template <class H> static u16 apply(u16 a, u16 b) { return H::round(H::widen(a) - H::widen(b)); }
};
struct Mul {
  template <class H> static u16 apply(u16 a, u16 b) { return H::round(H::widen(a) * H::widen(b)); }
};
template <bool Max, bool Nan, bool Xor>
struct Choose {
  template <class H> static u16 apply(u16 a, u16 b) {
    const auto sign = static_cast<u16>(Xor ? (a ^ b) & 0x8000U : 0);
    if constexpr (Xor) {
      a = static_cast<u16>(a & 0x7fffU);
      b = static_cast<u16>(b & 0x7fffU);
    }
    const bool a_nan = is_nan<H>(a);
    const bool b_nan = is_nan<H>(b);
    if (Nan ? a_nan || b_nan : a_nan && b_nan) {
      return kNan16;
    }
    // As sign and magnitude, so that -0 is less than +0.
    const auto rank = [](u16 h) {
      return (h & 0x8000U) != 0 ? -1 - static_cast<s32>(h & 0x7fffU) : static_cast<s32>(h);
    };
    const bool first = b_nan || (!a_nan && (Max ? rank(a) >= rank(b) : rank(a) <= rank(b)));
    return static_cast<u16>((first ? a : b) | sign);
  }
};
struct Fma {
  template <class H> static u16 apply(u16 a, u16 b, u16 c) { return fma_half<H>(a, b, c); }
};
struct Abs {
  template <class H> static u16 apply(u16 a) { return static_cast<u16>(a & 0x7fffU); }
};
struct Neg {
  template <class H> static u16 apply(u16 a) { return static_cast<u16>(a ^ 0x8000U); }
};

// The operation on one half; abs and neg keep the bits of a NaN.
template <class H, class Operation, u8 Flags, bool Canonical = true>
struct Single {
  static u16 apply(u16 a) {
    const u16 result = Operation::template apply<H>(input<H, Flags>(a));
    return Canonical ? output<H, Flags>(result) : result;
  }
  static u16 apply(u16 a, u16 b) {
    return output<H, Flags>(Operation::template apply<H>(input<H, Flags>(a),
                                                         input<H, Flags>(b)));
  }
  static u16 apply(u16 a, u16 b, u16 c) {
    return output<H, Flags>(Operation::template apply<H>(
        input<H, Flags>(a), input<H, Flags>(b), input<H, Flags>(c)));
  }
};
template <class S>
struct Pair {
  static u16 high(u32 a) { return static_cast<u16>(a >> 16); }
  static u16 low(u32 a) { return static_cast<u16>(a); }
  static u32 join(u16 l, u16 h) { return u32{l} | (u32{h} << 16); }
  static u32 apply(u32 a) { return join(S::apply(low(a)), S::apply(high(a))); }
  static u32 apply(u32 a, u32 b) {
    return join(S::apply(low(a), low(b)), S::apply(high(a), high(b)));
  }
  static u32 apply(u32 a, u32 b, u32 c) {
    return join(S::apply(low(a), low(b), low(c)), S::apply(high(a), high(b), high(c)));
  }
};

template <class H, class Operation, u8 Flags>
Handler two(bool pair) {
  using S = Single<H, Operation, Flags>;
  return pair ? binary<u32, Pair<S>> : binary<u16, S>;
}
template <class H, class Operation, u8 Flags>
Handler three(bool pair) {
  using S = Single<H, Operation, Flags>;
  return pair ? ternary<u32, Pair<S>> : ternary<u16, S>;
}
template <class H, class Operation>
Handler one(const Key& key, bool pair) {
  using F = Single<H, Operation, kFtz, false>;
  using S = Single<H, Operation, kPlain, false>;
  return key.ftz ? (pair ? unary<u32, Pair<F>> : unary<u16, F>)
                 : (pair ? unary<u32, Pair<S>> : unary<u16, S>);
}

template <class H, class Operation>
Handler two_flagged(const Key& key, bool pair) {
  if (key.sat) {
    return key.ftz ? two<H, Operation, kFtz | kSat>(pair) : two<H, Operation, kSat>(pair);
  }
  return key.ftz ? two<H, Operation, kFtz>(pair) : two<H, Operation, kPlain>(pair);
}

template <class H>
Handler fma_of(const Key& key, bool pair) {
  if (key.op == Op::ffma_relu) {
    return key.ftz ? three<H, Fma, kFtz | kRelu>(pair) : three<H, Fma, kRelu>(pair);
  }
  if (key.sat) {
    return key.ftz ? three<H, Fma, kFtz | kSat>(pair) : three<H, Fma, kSat>(pair);
  }
  return key.ftz ? three<H, Fma, kFtz>(pair) : three<H, Fma, kPlain>(pair);
}

template <class H>
Handler of(const Key& key, bool pair) {
  switch (key.op) {
    case Op::fadd: return two_flagged<H, Add>(key, pair);
    case Op::fsub: return two_flagged<H, Sub>(key, pair);
    case Op::fmul: return two_flagged<H, Mul>(key, pair);
    case Op::ffma:
    case Op::ffma_relu: return fma_of<H>(key, pair);
    case Op::fabs: return one<H, Abs>(key, pair);
    case Op::fneg: return one<H, Neg>(key, pair);
    case Op::fmin: return two_flagged<H, Choose<false, false, false>>(key, pair);
    case Op::fmax: return two_flagged<H, Choose<true, false, false>>(key, pair);
    case Op::fmin_nan: return two_flagged<H, Choose<false, true, false>>(key, pair);
    case Op::fmax_nan: return two_flagged<H, Choose<true, true, false>>(key, pair);
    case Op::fmin_xorsign: return two_flagged<H, Choose<false, false, true>>(key, pair);
    case Op::fmax_xorsign: return two_flagged<H, Choose<true, false, true>>(key, pair);
    case Op::fmin_nan_xorsign: return two_flagged<H, Choose<false, true, true>>(key, pair);
    case Op::fmax_nan_xorsign: return two_flagged<H, Choose<true, true, true>>(key, pair);
    default: return nullptr;
  }
}

}  // namespace

Handler find_half(const Key& key) {
  switch (key.type) {
    case Type::f16: return of<F16>(key, false);
    case Type::f16x2: return of<F16>(key, true);
    case Type::bf16: return of<Bf16>(key, false);
    case Type::bf16x2: return of<Bf16>(key, true);
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
