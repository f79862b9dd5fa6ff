// SPDX-License-Identifier: Apache-2.0
// Operations on bits and bytes.
#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

template <class T>
inline constexpr u32 kBits = 8 * sizeof(T);

struct And {
  template <class T> static T apply(T a, T b) { return static_cast<T>(a & b); }
};
struct Or {
  template <class T> static T apply(T a, T b) { return static_cast<T>(a | b); }
};
struct Xor {
  template <class T> static T apply(T a, T b) { return static_cast<T>(a ^ b); }
};
struct Not {
  template <class T> static T apply(T a) { return static_cast<T>(~a); }
};
struct Cnot {
  template <class T> static T apply(T a) { return a == 0 ? 1 : 0; }
};

// Shift amounts are clamped to the width.
template <class T>
void shl(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const u32* b = slot<u32>(w, i.b);
  each(d, mask, [=](u32 l) {
    const u32 amount = b[l];
    const auto shifted = static_cast<T>(static_cast<std::conditional_t<sizeof(T) == 8, u64, u32>>(
                                            a[l]) << (amount & (kBits<T> - 1)));
    return amount >= kBits<T> ? T{0} : shifted;
  });
}

template <class T>
void shr(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const u32* b = slot<u32>(w, i.b);
  each(d, mask, [=](u32 l) {
    const u32 amount = b[l];
    const auto shifted = static_cast<T>(a[l] >> (amount & (kBits<T> - 1)));
    const auto fill = std::is_signed_v<T> ? static_cast<T>(a[l] >> (kBits<T> - 1)) : T{0};
    return amount >= kBits<T> ? fill : shifted;
  });
}

template <bool Left, bool Wrap>
struct Funnel {
  static u32 apply(u32 a, u32 b, u32 c) {
    const u32 n = Wrap ? c & 31 : c < 32 ? c : 32;
    const u64 both = (u64{b} << 32) | a;
    return Left ? static_cast<u32>((both << n) >> 32) : static_cast<u32>(both >> n);
  }
};

struct Brev {
  template <class T> static T apply(T a) {
    u64 value = sizeof(T) == 8 ? u64{a} : u64{a} << 32;
    value = ((value >> 1) & 0x5555555555555555) | ((value & 0x5555555555555555) << 1);
    value = ((value >> 2) & 0x3333333333333333) | ((value & 0x3333333333333333) << 2);
    value = ((value >> 4) & 0x0f0f0f0f0f0f0f0f) | ((value & 0x0f0f0f0f0f0f0f0f) << 4);
    return static_cast<T>(__builtin_bswap64(value));
  }
};

struct Popc {
  template <class T> static u32 apply(T a) { return static_cast<u32>(__builtin_popcountll(a)); }
};
struct Clz {
  template <class T> static u32 apply(T a) {
    return a == 0 ? kBits<T> : static_cast<u32>(__builtin_clzll(a)) - (64 - kBits<T>);
  }
};
template <bool Shift>
struct Bfind {
  template <class T> static u32 apply(T a) {
    using U = std::make_unsigned_t<T>;
    const U value = a < 0 ? static_cast<U>(~a) : static_cast<U>(a);
    const u32 zeros = Clz::apply(value);
    return zeros == kBits<T> ? 0xffffffffU : Shift ? zeros : kBits<T> - 1 - zeros;
  }
};

template <class T, class Operation>
void count(Warp& w, const Instr& i, u32 mask) {
  u32* d = slot<u32>(w, i.d);
  const T* a = slot<T>(w, i.a);
  each(d, mask, [=](u32 l) { return Operation::apply(a[l]); });
}

template <class T>
T extract(T a, u32 position, u32 length) {
  position &= 0xff;
  length &= 0xff;
  constexpr u32 top = kBits<T> - 1;
  using U = std::make_unsigned_t<T>;
  U sign = 0;
  if (std::is_signed_v<T> && length != 0) {
    const u32 at = position + length - 1;
    sign = (static_cast<U>(a) >> (at < top ? at : top)) & 1;
  }
  const U low = position > top ? U{0} : static_cast<U>(static_cast<U>(a) >> position);
  // Bits from `length` on, and those from beyond the top of the word, are the sign.
  const u32 kept = position > top ? 0 : (length < kBits<T> - position ? length
                                                                      : kBits<T> - position);
  const U field = kept == 0 ? U{0} : static_cast<U>(~U{0} >> (kBits<T> - kept));
  return static_cast<T>(static_cast<U>((low & field) | (sign != 0 ? ~field : U{0})));
}

template <class T>
void bfe(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const u32* b = slot<u32>(w, i.b);
  const u32* c = slot<u32>(w, i.c);
  each_active(mask, [=](u32 l) { d[l] = extract(a[l], b[l], c[l]); });
}

// a into b at position c, length e.
template <class T>
void bfi(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  const u32* c = slot<u32>(w, i.c);
  const u32* e = slot<u32>(w, i.e);
  each_active(mask, [=](u32 l) {
    const u32 position = c[l] & 0xff;
    const u32 length = e[l] & 0xff;
    if (position >= kBits<T> || length == 0) {
      d[l] = b[l];
      return;
    }
    const T field = length >= kBits<T> ? static_cast<T>(~T{0})
                                       : static_cast<T>((T{1} << length) - 1);
    const T place = static_cast<T>(field << position);
    d[l] = static_cast<T>((b[l] & ~place) | ((a[l] << position) & place));
  });
}

template <bool Wrap>
struct Bmsk {
  static u32 apply(u32 a, u32 b) {
    const u32 position = Wrap ? a & 31 : a;
    const u32 length = Wrap ? b & 31 : b;
    if (position >= 32 || length == 0) {
      return 0;
    }
    return (length >= 32 ? 0xffffffffU : (1U << length) - 1) << position;
  }
};

template <class T, bool Wrap>
struct Szext {
  static T apply(T a, T b) {
    const u32 length = Wrap ? static_cast<u32>(b) & 31 : static_cast<u32>(b);
    if (length >= 32) {
      return a;
    }
    return extract(a, 0, length);
  }
};

// The n-th set bit from a base position, upwards for positive n, downwards for negative.
struct Fns {
  static u32 apply(u32 value, u32 base, u32 offset) {
    if (base > 31) {
      return 0xffffffffU;
    }
    const auto wanted = static_cast<s32>(offset);
    if (wanted == 0) {
      return ((value >> base) & 1) != 0 ? base : 0xffffffffU;
    }
    u32 left = wanted > 0 ? offset : 0 - offset;
    for (s32 at = static_cast<s32>(base); at >= 0 && at < 32; at += wanted > 0 ? 1 : -1) {
      if (((value >> at) & 1) != 0 && --left == 0) {
        return static_cast<u32>(at);
      }
    }
    return 0xffffffffU;
  }
};

struct Prmt {
  static u32 apply(u32 a, u32 b, u32 c) {
    const u64 bytes = (u64{b} << 32) | a;
    u32 result = 0;
    for (u32 i = 0; i < 4; ++i) {
      const u32 selector = c >> (4 * i);
      u32 byte = static_cast<u32>(bytes >> (8 * (selector & 7))) & 0xff;
      if ((selector & 8) != 0) {
        byte = (byte & 0x80) != 0 ? 0xff : 0;
      }
      result |= byte << (8 * i);
    }
    return result;
  }
};

// The special modes of prmt as a selector for the general one, indexed by the low bits of c.
template <u32 S0, u32 S1, u32 S2, u32 S3>
struct PrmtMode {
  static u32 apply(u32 a, u32 b, u32 c) {
    constexpr u32 selectors[4] = {S0, S1, S2, S3};
    return Prmt::apply(a, b, selectors[c & 3]);
  }
};

// d = d of every combination of bits, by a table of eight.
void lop3(Warp& w, const Instr& i, u32 mask) {
  u32* d = slot<u32>(w, i.d);
  const u32* a = slot<u32>(w, i.a);
  const u32* b = slot<u32>(w, i.b);
  const u32* c = slot<u32>(w, i.c);
  const auto table = static_cast<u32>(i.imm);
  u32 all[8];
  for (u32 bit = 0; bit < 8; ++bit) {
    all[bit] = ((table >> bit) & 1) != 0 ? 0xffffffffU : 0;
  }
  each(d, mask, [&](u32 l) {
    const u32 x = a[l];
    const u32 y = b[l];
    const u32 z = c[l];
    const u32 high = (y & ((z & all[7]) | (~z & all[6]))) | (~y & ((z & all[5]) | (~z & all[4])));
    const u32 low = (y & ((z & all[3]) | (~z & all[2]))) | (~y & ((z & all[1]) | (~z & all[0])));
    return (x & high) | (~x & low);
  });
}

template <bool SignedA, bool SignedB>
struct Dp4a {
  static u32 apply(u32 a, u32 b, u32 c) {
    for (u32 i = 0; i < 32; i += 8) {
      const s32 x = SignedA ? s32{static_cast<s8>(a >> i)} : s32{static_cast<u8>(a >> i)};
      const s32 y = SignedB ? s32{static_cast<s8>(b >> i)} : s32{static_cast<u8>(b >> i)};
      c += static_cast<u32>(x * y);
    }
    return c;
  }
};
template <bool SignedA, bool SignedB, bool High>
struct Dp2a {
  static u32 apply(u32 a, u32 b, u32 c) {
    for (u32 i = 0; i < 2; ++i) {
      const s32 x = SignedA ? s32{static_cast<s16>(a >> (16 * i))}
                            : s32{static_cast<u16>(a >> (16 * i))};
      const u32 at = 8 * i + (High ? 16 : 0);
      const s32 y = SignedB ? s32{static_cast<s8>(b >> at)} : s32{static_cast<u8>(b >> at)};
      c += static_cast<u32>(x) * static_cast<u32>(y);
    }
    return c;
  }
};

template <class Operation>
Handler unary_of(Type type) {
  return bytes_of(type) == 2 ? unary<u16, Operation>
         : bytes_of(type) == 4 ? unary<u32, Operation> : unary<u64, Operation>;
}
template <class Operation>
Handler binary_of(Type type) {
  return bytes_of(type) == 2 ? binary<u16, Operation>
         : bytes_of(type) == 4 ? binary<u32, Operation> : binary<u64, Operation>;
}

Handler shift_of(Op op, Type type) {
  switch (type) {
    case Type::u16: return op == Op::shl ? shl<u16> : shr<u16>;
    case Type::s16: return op == Op::shl ? shl<u16> : shr<s16>;
    case Type::u32: return op == Op::shl ? shl<u32> : shr<u32>;
    case Type::s32: return op == Op::shl ? shl<u32> : shr<s32>;
    case Type::u64: return op == Op::shl ? shl<u64> : shr<u64>;
    case Type::s64: return op == Op::shl ? shl<u64> : shr<s64>;
    default: return nullptr;
  }
}

template <bool Shift>
Handler bfind_of(Type type) {
  switch (type) {
    case Type::u32: return count<u32, Bfind<Shift>>;
    case Type::s32: return count<s32, Bfind<Shift>>;
    case Type::u64: return count<u64, Bfind<Shift>>;
    case Type::s64: return count<s64, Bfind<Shift>>;
    default: return nullptr;
  }
}

Handler bfe_of(Type type) {
  switch (type) {
    case Type::u32: return bfe<u32>;
    case Type::s32: return bfe<s32>;
    case Type::u64: return bfe<u64>;
    case Type::s64: return bfe<s64>;
    default: return nullptr;
  }
}

// select: bit 0 = a is signed, bit 1 = b is signed.
Handler dot_of(const Key& key) {
  constexpr Handler four[] = {ternary<u32, Dp4a<false, false>>, ternary<u32, Dp4a<true, false>>,
                              ternary<u32, Dp4a<false, true>>, ternary<u32, Dp4a<true, true>>};
  constexpr Handler low[] = {
      ternary<u32, Dp2a<false, false, false>>, ternary<u32, Dp2a<true, false, false>>,
      ternary<u32, Dp2a<false, true, false>>, ternary<u32, Dp2a<true, true, false>>};
  constexpr Handler high[] = {
      ternary<u32, Dp2a<false, false, true>>, ternary<u32, Dp2a<true, false, true>>,
      ternary<u32, Dp2a<false, true, true>>, ternary<u32, Dp2a<true, true, true>>};
  const u32 at = key.select & 3;
  return key.op == Op::dp4a ? four[at] : key.op == Op::dp2a_lo ? low[at] : high[at];
}

Handler find_prmt(Op op) {
  switch (op) {
    case Op::prmt: return ternary<u32, Prmt>;
    case Op::prmt_f4e: return ternary<u32, PrmtMode<0x3210, 0x4321, 0x5432, 0x6543>>;
    case Op::prmt_b4e: return ternary<u32, PrmtMode<0x5670, 0x6701, 0x7012, 0x0123>>;
    case Op::prmt_rc8: return ternary<u32, PrmtMode<0x0000, 0x1111, 0x2222, 0x3333>>;
    case Op::prmt_ecl: return ternary<u32, PrmtMode<0x3210, 0x3211, 0x3222, 0x3333>>;
    case Op::prmt_ecr: return ternary<u32, PrmtMode<0x0000, 0x1110, 0x2210, 0x3210>>;
    case Op::prmt_rc16: return ternary<u32, PrmtMode<0x1010, 0x3232, 0x1010, 0x3232>>;
    default: return nullptr;
  }
}

}  // namespace

Handler find_bits(const Key& key) {
  const bool wide = bytes_of(key.type) == 8;
  switch (key.op) {
    case Op::and_: return binary_of<And>(key.type);
    case Op::or_: return binary_of<Or>(key.type);
    case Op::xor_: return binary_of<Xor>(key.type);
    case Op::not_: return unary_of<Not>(key.type);
    case Op::cnot: return unary_of<Cnot>(key.type);
    case Op::lop3: return lop3;
    case Op::shl:
    case Op::shr: return shift_of(key.op, key.type);
    case Op::shf_l_wrap: return ternary<u32, Funnel<true, true>>;
    case Op::shf_l_clamp: return ternary<u32, Funnel<true, false>>;
    case Op::shf_r_wrap: return ternary<u32, Funnel<false, true>>;
    case Op::shf_r_clamp: return ternary<u32, Funnel<false, false>>;
    case Op::brev: return wide ? unary<u64, Brev> : unary<u32, Brev>;
    case Op::popc: return wide ? count<u64, Popc> : count<u32, Popc>;
    case Op::clz: return wide ? count<u64, Clz> : count<u32, Clz>;
    case Op::bfind: return bfind_of<false>(key.type);
    case Op::bfind_shift: return bfind_of<true>(key.type);
    case Op::bfe: return bfe_of(key.type);
    case Op::bfi: return wide ? bfi<u64> : bfi<u32>;
    case Op::bmsk_clamp: return binary<u32, Bmsk<false>>;
    case Op::bmsk_wrap: return binary<u32, Bmsk<true>>;
    case Op::szext_clamp:
      return key.type == Type::s32 ? binary<s32, Szext<s32, false>>
                                   : binary<u32, Szext<u32, false>>;
    case Op::szext_wrap:
      return key.type == Type::s32 ? binary<s32, Szext<s32, true>>
                                   : binary<u32, Szext<u32, true>>;
    case Op::fns: return ternary<u32, Fns>;
    case Op::dp4a:
    case Op::dp2a_lo:
    case Op::dp2a_hi: return dot_of(key);
    default: return find_prmt(key.op);
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
