// SPDX-License-Identifier: Apache-2.0
// Words that every part of the engine shares: value types, state spaces, rounding.
#pragma once

#include <cstdint>
#include <string_view>

namespace phos::sim::ptx {

enum class Type : std::uint8_t {
  none, pred,
  b8, b16, b32, b64, b128,
  u8, u16, u32, u64,
  s8, s16, s32, s64,
  f16, bf16, f32, f64,
  f16x2, bf16x2, f32x2, u16x2, s16x2, u8x4, s8x4,
  tf32, e4m3, e5m2, e4m3x2, e5m2x2, e2m1x2, e2m3x2, e3m2x2, ue8m0x2,
  b1, u4, s4,
};

enum class Space : std::uint8_t {
  generic, global, constant, shared, local, param, reg,
};

enum class Rounding : std::uint8_t {
  none,
  rn, rz, rm, rp, rna, rs,      // to a value of the target type
  rni, rzi, rmi, rpi,           // to an integer
};

// Bytes that a value takes in a register or in memory; predicates take one bit and answer 0.
constexpr std::uint32_t bytes_of(Type type) noexcept {
  switch (type) {
    case Type::none:
    case Type::pred:
    case Type::b1:
    case Type::u4:
    case Type::s4:
      return 0;
    case Type::b8:
    case Type::u8:
    case Type::s8:
    case Type::e4m3:
    case Type::e5m2:
    case Type::e2m1x2:
      return 1;
    case Type::b16:
    case Type::u16:
    case Type::s16:
    case Type::f16:
    case Type::bf16:
    case Type::e4m3x2:
    case Type::e5m2x2:
    case Type::e2m3x2:
    case Type::e3m2x2:
    case Type::ue8m0x2:
      return 2;
    case Type::b64:
    case Type::u64:
    case Type::s64:
    case Type::f64:
    case Type::f32x2:
      return 8;
    case Type::b128:
      return 16;
    default:
      return 4;
  }
}

constexpr bool is_signed(Type type) noexcept {
  return type == Type::s8 || type == Type::s16 || type == Type::s32 || type == Type::s64;
}

constexpr bool is_unsigned(Type type) noexcept {
  return type == Type::u8 || type == Type::u16 || type == Type::u32 || type == Type::u64;
}

constexpr bool is_bits(Type type) noexcept {
  return type >= Type::b8 && type <= Type::b128;
}

constexpr bool is_integer(Type type) noexcept {
  return is_signed(type) || is_unsigned(type);
}

constexpr bool is_float(Type type) noexcept {
  return type >= Type::f16 && type <= Type::f64;
}

// The type that a name such as "f16x2" stands for; none if it names no type.
Type type_named(std::string_view name) noexcept;
std::string_view name_of(Type type) noexcept;

// The signed, unsigned or untyped integer of this many bytes.
constexpr Type unsigned_of(std::uint32_t bytes) noexcept {
  return bytes == 1 ? Type::u8 : bytes == 2 ? Type::u16 : bytes == 4 ? Type::u32
       : bytes == 8 ? Type::u64 : Type::b128;
}

}  // namespace phos::sim::ptx
