// SPDX-License-Identifier: Apache-2.0
// Integer arithmetic. Everything wraps as on hardware; division by zero gives all ones, as the
// hardware does where PTX leaves the result open.
#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

// Wide enough that products of 16-bit values do not overflow a signed int.
template <class T>
using Work = std::conditional_t<sizeof(T) == 8, u64, u32>;

template <class T>
struct Twice;
template <> struct Twice<u16> { using Type = u32; };
template <> struct Twice<s16> { using Type = s32; };
template <> struct Twice<u32> { using Type = u64; };
template <> struct Twice<s32> { using Type = s64; };
template <> struct Twice<u64> { __extension__ using Type = unsigned __int128; };
template <> struct Twice<s64> { __extension__ using Type = __int128; };
template <class T>
using Wide = typename Twice<T>::Type;

template <class T>
T high(T a, T b) {
  return static_cast<T>((static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b)) >> (8 * sizeof(T)));
}

struct Add {
  template <class T> static T apply(T a, T b) {
    return static_cast<T>(static_cast<Work<T>>(a) + static_cast<Work<T>>(b));
  }
};
struct Sub {
  template <class T> static T apply(T a, T b) {
    return static_cast<T>(static_cast<Work<T>>(a) - static_cast<Work<T>>(b));
  }
};
struct MulLo {
  template <class T> static T apply(T a, T b) {
    return static_cast<T>(static_cast<Work<T>>(a) * static_cast<Work<T>>(b));
  }
};
struct MulHi {
  template <class T> static T apply(T a, T b) { return high(a, b); }
};
struct MadLo {
  template <class T> static T apply(T a, T b, T c) {
    return static_cast<T>(static_cast<Work<T>>(a) * static_cast<Work<T>>(b) +
                          static_cast<Work<T>>(c));
  }
};
struct MadHi {
  template <class T> static T apply(T a, T b, T c) { return Add::apply(high(a, b), c); }
};

inline s32 saturate(s64 value) {
  return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : static_cast<s32>(value);
}

struct AddSat {
  static s32 apply(s32 a, s32 b) { return saturate(s64{a} + b); }
};
struct SubSat {
  static s32 apply(s32 a, s32 b) { return saturate(s64{a} - b); }
};
struct MadHiSat {
  static s32 apply(s32 a, s32 b, s32 c) { return saturate(s64{high(a, b)} + c); }
};

template <class T>
T low24(T value) {
  return static_cast<T>(static_cast<T>(static_cast<u32>(value) << 8) >> 8);
}
struct Mul24Lo {
  template <class T> static T apply(T a, T b) { return MulLo::apply(low24(a), low24(b)); }
};
// Bits 47 to 16 of the 48-bit product.
struct Mul24Hi {
  template <class T> static T apply(T a, T b) {
    return static_cast<T>((static_cast<Wide<T>>(low24(a)) * static_cast<Wide<T>>(low24(b))) >> 16);
  }
};
struct Mad24Lo {
  template <class T> static T apply(T a, T b, T c) { return Add::apply(Mul24Lo::apply(a, b), c); }
};
struct Mad24Hi {
  template <class T> static T apply(T a, T b, T c) { return Add::apply(Mul24Hi::apply(a, b), c); }
};
struct Mad24HiSat {
  static s32 apply(s32 a, s32 b, s32 c) { return saturate(s64{Mul24Hi::apply(a, b)} + c); }
};

struct Div {
  template <class T> static T apply(T a, T b) {
    if (b == 0) {
      return static_cast<T>(~T{0});
    }
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) {
        return Sub::apply(T{0}, a);
      }
    }
    return static_cast<T>(a / b);
  }
};
struct Rem {
  template <class T> static T apply(T a, T b) {
    if (b == 0) {
      return a;
    }
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) {
        return 0;
      }
    }
    return static_cast<T>(a % b);
  }
};
struct Min {
  template <class T> static T apply(T a, T b) { return a < b ? a : b; }
};
struct Max {
  template <class T> static T apply(T a, T b) { return a > b ? a : b; }
};
struct MinRelu {
  template <class T> static T apply(T a, T b) { return Max::apply(Min::apply(a, b), T{0}); }
};
struct MaxRelu {
  template <class T> static T apply(T a, T b) { return Max::apply(Max::apply(a, b), T{0}); }
};
struct Abs {
  template <class T> static T apply(T a) { return a < 0 ? Sub::apply(T{0}, a) : a; }
};
struct Neg {
  template <class T> static T apply(T a) { return Sub::apply(T{0}, a); }
};
struct Sad {
  template <class T> static T apply(T a, T b, T c) {
    return Add::apply(c, a < b ? Sub::apply(b, a) : Sub::apply(a, b));
  }
};

// Two 16-bit halves of a word, each by itself.
template <class T, class Operation>
struct Halves {
  static u32 apply(u32 a, u32 b) {
    const T low = Operation::apply(static_cast<T>(a), static_cast<T>(b));
    const T high_half = Operation::apply(static_cast<T>(a >> 16), static_cast<T>(b >> 16));
    return static_cast<u16>(low) | (u32{static_cast<u16>(high_half)} << 16);
  }
};

// Division visits active lanes only: it is slow, and no vector instruction does it.
template <class T, class Operation>
void binary_active(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  each_active(mask, [=](u32 l) { d[l] = Operation::apply(a[l], b[l]); });
}

template <class T>
void mul_wide(Warp& w, const Instr& i, u32 mask) {
  Wide<T>* d = slot<Wide<T>>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  each(d, mask, [=](u32 l) {
    return static_cast<Wide<T>>(static_cast<Wide<T>>(a[l]) * static_cast<Wide<T>>(b[l]));
  });
}

template <class T>
void mad_wide(Warp& w, const Instr& i, u32 mask) {
  Wide<T>* d = slot<Wide<T>>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  const Wide<T>* c = slot<Wide<T>>(w, i.c);
  each(d, mask, [=](u32 l) {
    const Wide<T> product = static_cast<Wide<T>>(a[l]) * static_cast<Wide<T>>(b[l]);
    return Add::apply(product, c[l]);
  });
}

template <class Operation>
Handler binary_of(Type type) {
  switch (type) {
    case Type::u16: return binary<u16, Operation>;
    case Type::s16: return binary<s16, Operation>;
    case Type::u32: return binary<u32, Operation>;
    case Type::s32: return binary<s32, Operation>;
    case Type::u64: return binary<u64, Operation>;
    case Type::s64: return binary<s64, Operation>;
    case Type::u16x2: return binary<u32, Halves<u16, Operation>>;
    case Type::s16x2: return binary<u32, Halves<s16, Operation>>;
    default: return nullptr;
  }
}

template <class Operation>
Handler division_of(Type type) {
  switch (type) {
    case Type::u16: return binary_active<u16, Operation>;
    case Type::s16: return binary_active<s16, Operation>;
    case Type::u32: return binary_active<u32, Operation>;
    case Type::s32: return binary_active<s32, Operation>;
    case Type::u64: return binary_active<u64, Operation>;
    case Type::s64: return binary_active<s64, Operation>;
    default: return nullptr;
  }
}

template <class Operation>
Handler ternary_of(Type type) {
  switch (type) {
    case Type::u16: return ternary<u16, Operation>;
    case Type::s16: return ternary<s16, Operation>;
    case Type::u32: return ternary<u32, Operation>;
    case Type::s32: return ternary<s32, Operation>;
    case Type::u64: return ternary<u64, Operation>;
    case Type::s64: return ternary<s64, Operation>;
    default: return nullptr;
  }
}

template <class Operation>
Handler signed_unary_of(Type type) {
  switch (type) {
    case Type::s16: return unary<s16, Operation>;
    case Type::s32: return unary<s32, Operation>;
    case Type::s64: return unary<s64, Operation>;
    default: return nullptr;
  }
}

template <class Operation>
Handler binary24_of(Type type) {
  return type == Type::u32 ? binary<u32, Operation>
         : type == Type::s32 ? binary<s32, Operation> : nullptr;
}

template <class Operation>
Handler ternary24_of(Type type) {
  return type == Type::u32 ? ternary<u32, Operation>
         : type == Type::s32 ? ternary<s32, Operation> : nullptr;
}

Handler wide_of(Type type, bool mad) {
  switch (type) {
    case Type::u16: return mad ? mad_wide<u16> : mul_wide<u16>;
    case Type::s16: return mad ? mad_wide<s16> : mul_wide<s16>;
    case Type::u32: return mad ? mad_wide<u32> : mul_wide<u32>;
    case Type::s32: return mad ? mad_wide<s32> : mul_wide<s32>;
    default: return nullptr;
  }
}

Handler only_s32(Type type, Handler handler) { return type == Type::s32 ? handler : nullptr; }

}  // namespace

Handler find_integer(const Key& key) {
  switch (key.op) {
    case Op::add: return binary_of<Add>(key.type);
    case Op::sub: return binary_of<Sub>(key.type);
    case Op::mul_lo: return binary_of<MulLo>(key.type);
    case Op::mul_hi: return division_of<MulHi>(key.type) == nullptr ? nullptr
                            : binary_of<MulHi>(key.type);
    case Op::mul_wide: return wide_of(key.type, false);
    case Op::mad_wide: return wide_of(key.type, true);
    case Op::mad_lo: return ternary_of<MadLo>(key.type);
    case Op::mad_hi: return ternary_of<MadHi>(key.type);
    case Op::mad_hi_sat: return only_s32(key.type, ternary<s32, MadHiSat>);
    case Op::add_sat: return only_s32(key.type, binary<s32, AddSat>);
    case Op::sub_sat: return only_s32(key.type, binary<s32, SubSat>);
    case Op::mul24_lo: return binary24_of<Mul24Lo>(key.type);
    case Op::mul24_hi: return binary24_of<Mul24Hi>(key.type);
    case Op::mad24_lo: return ternary24_of<Mad24Lo>(key.type);
    case Op::mad24_hi: return ternary24_of<Mad24Hi>(key.type);
    case Op::mad24_hi_sat: return only_s32(key.type, ternary<s32, Mad24HiSat>);
    case Op::div: return division_of<Div>(key.type);
    case Op::rem: return division_of<Rem>(key.type);
    case Op::min: return binary_of<Min>(key.type);
    case Op::max: return binary_of<Max>(key.type);
    case Op::min_relu:
      return key.type == Type::s16x2 ? binary<u32, Halves<s16, MinRelu>>
                                     : only_s32(key.type, binary<s32, MinRelu>);
    case Op::max_relu:
      return key.type == Type::s16x2 ? binary<u32, Halves<s16, MaxRelu>>
                                     : only_s32(key.type, binary<s32, MaxRelu>);
    case Op::abs: return signed_unary_of<Abs>(key.type);
    case Op::neg: return signed_unary_of<Neg>(key.type);
    case Op::sad: return ternary_of<Sad>(key.type);
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
