// SPDX-License-Identifier: Apache-2.0
// cvt. Common pairs have loops of their own; all others go through exact.h lane by lane, steered by
// the instruction's imm.
#include "exact.h"
#include "float.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

// imm of a general conversion, packed by `Key` fields in lowering: see convert_spec().
struct Spec {
  Type to, from;
  Rounding rounding;
  bool ftz, sat, relu, finite;
};

Spec spec_of(const Instr& i) {
  const auto bits = static_cast<u64>(i.imm);
  return {static_cast<Type>(bits & 0xff), static_cast<Type>((bits >> 8) & 0xff),
          static_cast<Rounding>((bits >> 16) & 0xff), (bits & (u64{1} << 24)) != 0,
          (bits & (u64{1} << 25)) != 0, (bits & (u64{1} << 26)) != 0,
          (bits & (u64{1} << 27)) != 0};
}

const Format* format_of(Type type) {
  switch (type) {
    case Type::f64: return &kF64;
    case Type::f32: return &kF32;
    case Type::tf32: return &kTf32;
    case Type::f16:
    case Type::f16x2: return &kF16;
    case Type::bf16:
    case Type::bf16x2: return &kBf16;
    case Type::e4m3:
    case Type::e4m3x2: return &kE4m3;
    case Type::e5m2:
    case Type::e5m2x2: return &kE5m2;
    case Type::e2m1x2: return &kE2m1;
    case Type::e2m3x2: return &kE2m3;
    case Type::e3m2x2: return &kE3m2;
    default: return nullptr;
  }
}

u64 load(const std::byte* at, u32 bytes) {
  u64 value = 0;
  std::memcpy(&value, at, bytes);
  return value;
}

u64 sign_extended(u64 value, u32 bytes) {
  const u32 shift = 64 - 8 * bytes;
  return static_cast<u64>(static_cast<s64>(value << shift) >> shift);
}

// Subnormal singles become zeros of the same sign.
Exact flushed(Exact x) {
  if (x.what == Exact::What::finite && x.mantissa < (u64{1} << 23) && x.exponent <= -149) {
    x.mantissa = 0;
  }
  return x;
}

u64 clamp_unit(u64 bits, const Format& f) {
  const u64 one = static_cast<u64>(f.bias()) << f.mantissa_bits;
  const u64 top = u64{1} << (f.mantissa_bits + f.exponent_bits);
  const Exact x = take_apart(bits, f);
  if (x.what == Exact::What::nan || (bits & top) != 0) {
    return 0;
  }
  return bits > one ? one : bits;
}

Exact rounded_to_integer(const Exact& x, Rounding rounding) {
  if (x.what != Exact::What::finite || x.exponent >= 0) {
    return x;
  }
  Exact result = x;
  result.mantissa = shift_rounded(x.mantissa, -x.exponent, x.negative, rounding);
  result.exponent = 0;
  return result;
}

u64 to_float(const Exact& source, const Spec& s, const Format& f) {
  Exact x = source;
  const bool integral = s.rounding >= Rounding::rni;
  if (integral) {
    x = rounded_to_integer(x, s.rounding);
  }
  u64 bits = put_together(x, f, s.rounding, s.finite);
  if (s.relu) {
    const u64 top = u64{1} << (f.mantissa_bits + f.exponent_bits);
    bits = x.what != Exact::What::nan && (bits & top) != 0 ? 0 : bits;
  }
  return bits;
}

u64 convert_one(u64 bits, const Spec& s) {
  const Format* from = format_of(s.from);
  const Format* to = format_of(s.to);
  const u32 from_bytes = bytes_of(s.from);
  const u32 to_bytes = bytes_of(s.to);
  Exact x;
  if (from != nullptr) {
    x = take_apart(bits, *from);
    x = s.ftz && s.from == Type::f32 ? flushed(x) : x;
  } else {
    const u64 value = is_signed(s.from) ? sign_extended(bits, from_bytes) : bits;
    x = from_integer(value, is_signed(s.from) && static_cast<s64>(value) < 0);
  }
  if (to == nullptr) {
    if (x.what == Exact::What::nan) {
      return to_bytes == 8 ? u64{0x8000000000000000} : 0;
    }
    return to_integer(x, 8 * to_bytes, is_signed(s.to), s.rounding);
  }
  u64 result = to_float(x, s, *to);
  if (s.to == Type::f32 && s.ftz) {
    result = (result & 0x7f800000) == 0 ? result & 0x80000000 : result;
  }
  if (s.to == Type::tf32) {  // the ten bits stand where those of a single stand
    result <<= 13;
    result = x.what == Exact::What::nan ? kNan32 : result;
  } else if (s.sat) {
    result = clamp_unit(result, *to);
  }
  return result;
}

void general(Warp& w, const Instr& i, u32 mask) {
  const Spec s = spec_of(i);
  const u32 from_bytes = bytes_of(s.from);
  const u32 to_bytes = bytes_of(s.to);
  std::byte* d = slot<std::byte>(w, i.d);
  const std::byte* a = slot<std::byte>(w, i.a);
  each_active(mask, [&](u32 l) {
    const u64 result = convert_one(load(a + l * from_bytes, from_bytes), s);
    std::memcpy(d + l * to_bytes, &result, to_bytes);
  });
}

// Two values into one register: a goes to the upper half, b to the lower.
void pack_two(Warp& w, const Instr& i, u32 mask) {
  const Spec s = spec_of(i);
  const u32 from_bytes = bytes_of(s.from);
  const u32 to_bytes = bytes_of(s.to);
  const Format* to = format_of(s.to);
  // Formats of less than a byte: e2m1 fills one byte with two, others take a byte each.
  const u32 half_bits = s.to == Type::e2m1x2 ? 4 : 4 * to_bytes;
  std::byte* d = slot<std::byte>(w, i.d);
  const std::byte* a = slot<std::byte>(w, i.a);
  const std::byte* b = slot<std::byte>(w, i.b);
  each_active(mask, [&](u32 l) {
    const auto half = [&](const std::byte* from) {
      const Exact x = take_apart(load(from + l * from_bytes, from_bytes), *format_of(s.from));
      return to_float(s.ftz ? flushed(x) : x, s, *to);
    };
    const u64 result = (half(a) << half_bits) | half(b);
    std::memcpy(d + l * to_bytes, &result, to_bytes);
  });
}

// Both halves of one register: fp8x2 from and to f16x2.
void convert_two(Warp& w, const Instr& i, u32 mask) {
  const Spec s = spec_of(i);
  const u32 from_bytes = bytes_of(s.from);
  const u32 to_bytes = bytes_of(s.to);
  const u32 from_bits = s.from == Type::e2m1x2 ? 4 : 4 * from_bytes;
  const u32 to_bits = s.to == Type::e2m1x2 ? 4 : 4 * to_bytes;
  std::byte* d = slot<std::byte>(w, i.d);
  const std::byte* a = slot<std::byte>(w, i.a);
  each_active(mask, [&](u32 l) {
    const u64 both = load(a + l * from_bytes, from_bytes);
    const auto half = [&](u32 shift) {
      const u64 bits = (both >> shift) & ((u64{1} << from_bits) - 1);
      return to_float(take_apart(bits, *format_of(s.from)), s, *format_of(s.to));
    };
    const u64 result = half(0) | (half(from_bits) << to_bits);
    std::memcpy(d + l * to_bytes, &result, to_bytes);
  });
}

s64 clamp_to(s64 value, Type type) {
  switch (type) {
    case Type::s8: return value < -128 ? -128 : value > 127 ? 127 : value;
    case Type::u8: return value < 0 ? 0 : value > 255 ? 255 : value;
    case Type::s16: return value < -32768 ? -32768 : value > 32767 ? 32767 : value;
    case Type::u16: return value < 0 ? 0 : value > 65535 ? 65535 : value;
    case Type::s32: return value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : value;
    case Type::u32: return value < 0 ? 0 : value > UINT32_MAX ? s64{UINT32_MAX} : value;
    default: return value;
  }
}

s64 integer_at(const std::byte* at, Type type) {
  const u64 value = load(at, bytes_of(type));
  return static_cast<s64>(is_signed(type) ? sign_extended(value, bytes_of(type)) : value);
}

// Integer to integer with .sat.
void clamp_integer(Warp& w, const Instr& i, u32 mask) {
  const Spec s = spec_of(i);
  const u32 from_bytes = bytes_of(s.from);
  const u32 to_bytes = bytes_of(s.to);
  std::byte* d = slot<std::byte>(w, i.d);
  const std::byte* a = slot<std::byte>(w, i.a);
  each_active(mask, [&](u32 l) {
    s64 value = integer_at(a + l * from_bytes, s.from);
    if (s.from == Type::u64 && value < 0) {  // 2^63 and more
      value = s.to == Type::u64 ? value : INT64_MAX;
    } else if (s.to == Type::u64 && s.from != Type::u64 && value < 0) {
      value = 0;
    }
    value = clamp_to(value, s.to);
    std::memcpy(d + l * to_bytes, &value, to_bytes);
  });
}

// cvt.pack: a and b as s32, clamped, side by side; what c holds moves up.
void pack_integers(Warp& w, const Instr& i, u32 mask) {
  const Spec s = spec_of(i);
  const u32 bits = s.to == Type::s16 || s.to == Type::u16 ? 16 : static_cast<u32>(
      s.to == Type::s8 || s.to == Type::u8 ? 8 : s.to == Type::s4 || s.to == Type::u4 ? 4 : 2);
  const u32 field = (1U << bits) - 1;
  const s64 most = is_unsigned(s.to) || s.to == Type::u4 ? s64{field} : s64{field >> 1};
  const s64 least = is_unsigned(s.to) || s.to == Type::u4 ? 0 : -most - 1;
  u32* d = slot<u32>(w, i.d);
  const s32* a = slot<s32>(w, i.a);
  const s32* b = slot<s32>(w, i.b);
  const u32* c = i.c == kNoSlot ? nullptr : slot<u32>(w, i.c);
  each_active(mask, [&](u32 l) {
    const auto clamp = [&](s64 value) {
      return static_cast<u32>(value < least ? least : value > most ? most : value) & field;
    };
    const u32 upper = c == nullptr ? 0 : static_cast<u32>(u64{c[l]} << (2 * bits));
    d[l] = upper | (clamp(a[l]) << bits) | clamp(b[l]);
  });
}

template <class To, class From>
void direct(Warp& w, const Instr& i, u32 mask) {
  To* d = slot<To>(w, i.d);
  const From* a = slot<From>(w, i.a);
  each(d, mask, [=](u32 l) {
    if constexpr (std::is_floating_point_v<To>) {
      return canonical(static_cast<To>(a[l]));
    } else {
      return static_cast<To>(a[l]);
    }
  });
}

// Toward zero, saturating; NaN gives 0. Written so that no conversion is out of range.
template <class To, bool Flush>
void truncate(Warp& w, const Instr& i, u32 mask) {
  To* d = slot<To>(w, i.d);
  const float* a = slot<float>(w, i.a);
  constexpr float least = std::is_signed_v<To> ? -0x1p31F : 0.0F;
  constexpr float beyond = std::is_signed_v<To> ? 0x1p31F : 0x1p32F;
  each(d, mask, [=](u32 l) {
    const float x = a[l];
    const float inside = x >= least && x < beyond ? x : 0.0F;
    const To value = static_cast<To>(static_cast<s64>(inside));
    const To low = x < least ? static_cast<To>(static_cast<s64>(least)) : value;
    return x >= beyond ? static_cast<To>(std::is_signed_v<To> ? INT32_MAX : UINT32_MAX) : low;
  });
}

template <class H>
void from_half(Warp& w, const Instr& i, u32 mask) {
  float* d = slot<float>(w, i.d);
  const u16* a = slot<u16>(w, i.a);
  each(d, mask, [=](u32 l) { return canonical(H::widen(a[l])); });
}
template <class H>
void to_half(Warp& w, const Instr& i, u32 mask) {
  u16* d = slot<u16>(w, i.d);
  const float* a = slot<float>(w, i.a);
  each(d, mask, [=](u32 l) { return H::round(a[l]); });
}

Handler fast(const Key& key) {
  if (key.sat || key.relu) {
    return nullptr;
  }
  const Type to = key.type;
  const Type from = key.from;
  const bool nearest = key.rounding == Rounding::rn;
  if (to == Type::f32 && !key.ftz) {
    if (from == Type::f16) return from_half<F16>;
    if (from == Type::bf16) return from_half<Bf16>;
    if (from == Type::f64 && nearest) return direct<float, double>;
    if (from == Type::s32 && nearest) return direct<float, s32>;
    if (from == Type::u32 && nearest) return direct<float, u32>;
  }
  if (from == Type::f32 && to == Type::s32 && key.rounding == Rounding::rzi) {
    return truncate<s32, false>;
  }
  if (from == Type::f32 && to == Type::u32 && key.rounding == Rounding::rzi) {
    return truncate<u32, false>;
  }
  if (to == Type::f64 && from == Type::f32 && !key.ftz) return direct<double, float>;
  if (to == Type::f64 && from == Type::s32) return direct<double, s32>;
  if (to == Type::f64 && from == Type::u32) return direct<double, u32>;
  if (from == Type::f32 && nearest && !key.ftz) {
    if (to == Type::f16) return to_half<F16>;
    if (to == Type::bf16) return to_half<Bf16>;
  }
  return nullptr;
}

}  // namespace

Handler find_convert(const Key& key) {
  switch (key.op) {
    case Op::cvt: {
      const bool integers = format_of(key.type) == nullptr && format_of(key.from) == nullptr;
      const Handler handler = integers ? nullptr : fast(key);
      return handler != nullptr ? handler : integers ? clamp_integer : general;
    }
    case Op::cvt_pack: return pack_integers;
    case Op::cvt_pack2: return pack_two;
    case Op::cvt_x2: return convert_two;
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
