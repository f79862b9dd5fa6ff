// SPDX-License-Identifier: Apache-2.0
// cvt in all its forms. Registers may be wider than the types: sources are narrowed first, results
// widened last, so that the conversion itself sees exactly its types.
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

std::int64_t spec(const Key& key, bool finite) {
  return static_cast<std::int64_t>(
      std::uint64_t{static_cast<std::uint8_t>(key.type)} |
      (std::uint64_t{static_cast<std::uint8_t>(key.from)} << 8) |
      (std::uint64_t{static_cast<std::uint8_t>(key.rounding)} << 16) |
      (key.ftz ? std::uint64_t{1} << 24 : 0) | (key.sat ? std::uint64_t{1} << 25 : 0) |
      (key.relu ? std::uint64_t{1} << 26 : 0) | (finite ? std::uint64_t{1} << 27 : 0));
}

bool is_number(Type type) { return is_integer(type) || is_float(type); }

// The source as a slot of exactly the type's size.
std::uint32_t narrowed_source(Lowering& l, std::size_t index, Type type) {
  const text::Operand& operand = l.operand(index);
  const Type own = l.register_type(operand);
  if (own == Type::none || own == Type::pred || bytes_of(own) == bytes_of(type)) {
    return l.source(operand, type);
  }
  if (bytes_of(own) < bytes_of(type)) {
    l.refuse("the source register is narrower than its type");
  }
  const std::uint32_t wide = l.source(operand, own);
  const std::uint32_t slot = l.temporary(bytes_of(type));
  Instr& i = l.emit({.op = Op::narrow, .type = unsigned_of(bytes_of(type)),
                     .from = unsigned_of(bytes_of(own))});
  i.d = slot;
  i.a = wide;
  return slot;
}

// Where the result goes; widen() then moves it into the register if that is wider.
struct Result {
  std::uint32_t slot;
  std::uint32_t final_slot;
  Type own;
};
Result result_of(Lowering& l, Type type) {
  const text::Operand& operand = l.operand(0);
  const Type own = l.register_type(operand);
  if (own == Type::none || own == Type::pred || bytes_of(own) <= bytes_of(type)) {
    const std::uint32_t slot = l.target(operand, type);
    return {slot, slot, type};
  }
  return {l.temporary(bytes_of(type)), l.target(operand, own), own};
}
void widen(Lowering& l, const Result& result, Type type) {
  if (result.slot == result.final_slot) {
    return;
  }
  const Type from = is_signed(type) ? type : unsigned_of(bytes_of(type));
  Instr& i = l.emit({.op = Op::narrow, .type = unsigned_of(bytes_of(result.own)), .from = from});
  i.d = result.final_slot;
  i.a = result.slot;
}

void integer_to_integer(Lowering& l, const Key& key) {
  const std::uint32_t a = narrowed_source(l, 1, key.from);
  const Result d = result_of(l, key.type);
  Key op = key;
  if (!key.sat) {
    op = {.op = Op::narrow, .type = unsigned_of(bytes_of(key.type)), .from = key.from};
  }
  Instr& i = l.emit(op);
  i.d = d.slot;
  i.a = a;
  i.imm = spec(key, false);
  widen(l, d, key.type);
}

void check_rounding(Lowering& l, Key& key) {
  const bool to_float = is_float(key.type) || key.type == Type::tf32;
  const bool from_float = is_float(key.from);
  const bool integral = key.rounding >= Rounding::rni;
  if (to_float && from_float) {
    const bool narrower = bytes_of(key.type) < bytes_of(key.from) || key.type == Type::tf32 ||
                          (key.type != key.from && bytes_of(key.type) == 2);
    if (narrower && (key.rounding == Rounding::none || integral)) {
      l.refuse("a rounding modifier such as .rn is expected");
    }
    if (key.type == key.from && key.rounding != Rounding::none && !integral) {
      l.refuse("this rounding does not go with these types");
    }
  } else if (to_float ? key.rounding == Rounding::none || integral
                      : from_float && !integral) {
    l.refuse("a rounding modifier of the right kind is expected");
  }
}

void pack_two(Lowering& l, Key key, bool finite) {
  key.op = Op::cvt_pack2;
  const std::uint32_t a = l.source(1, key.from);
  const std::uint32_t b = l.source(2, key.from);
  const Result d = result_of(l, key.type);
  Instr& i = l.emit(key);
  i.d = d.slot;
  i.a = a;
  i.b = b;
  i.imm = spec(key, finite);
  widen(l, d, key.type);
}

bool is_small_pair(Type type) {
  return type == Type::e4m3x2 || type == Type::e5m2x2 || type == Type::e2m1x2 ||
         type == Type::e2m3x2 || type == Type::e3m2x2;
}

void convert_pair(Lowering& l, Key key, bool finite) {
  key.op = Op::cvt_x2;
  const std::uint32_t a = narrowed_source(l, 1, key.from);
  const Result d = result_of(l, key.type);
  Instr& i = l.emit(key);
  i.d = d.slot;
  i.a = a;
  i.imm = spec(key, finite);
  widen(l, d, key.type);
}

void convert_pack(Lowering& l) {
  const bool sat = l.mods.take("sat");
  Key key{.op = Op::cvt_pack};
  key.type = l.mods.take_type();
  if (key.type == Type::none && l.mods.take("u2")) {
    key.type = Type::b1;  // stands for two bits below
  }
  const Type source = l.mods.take_type();
  const bool third = l.operand_count() == 4;
  if (third) {
    l.mods.take("b32");
  }
  const bool known = key.type == Type::u16 || key.type == Type::s16 || key.type == Type::u8 ||
                     key.type == Type::s8 || key.type == Type::u4 || key.type == Type::s4;
  if (!sat || !known || source != Type::s32) {
    l.refuse("the device has no such instruction");
  }
  l.expect_operands(3, 4);
  const std::uint32_t a = l.source(1, Type::s32);
  const std::uint32_t b = l.source(2, Type::s32);
  const std::uint32_t c = third ? l.source(3, Type::b32) : kNoSlot;
  const std::uint32_t d = l.target(0, Type::b32);
  Instr& i = l.emit(key);
  i.d = d;
  i.a = a;
  i.b = b;
  i.c = c;
  i.imm = spec(key, false);
}

void convert(Lowering& l) {
  if (l.mods.take("pack")) {
    convert_pack(l);
    return;
  }
  Key key{.op = Op::cvt};
  key.rounding = l.mods.take_rounding();
  key.ftz = l.mods.take("ftz");
  key.relu = l.mods.take("relu");
  const bool finite = l.mods.take("satfinite");
  key.sat = l.mods.take("sat");
  key.type = l.mods.take_type();
  key.from = l.mods.take_type();
  const bool pair_target = key.type == Type::f16x2 || key.type == Type::bf16x2 ||
                           is_small_pair(key.type);
  if (pair_target && key.from == Type::f32) {
    l.expect_operands(3, 3);
    if (key.rounding != Rounding::rn && key.rounding != Rounding::rz) {
      l.refuse(".rn or .rz is expected");
    }
    pack_two(l, key, finite);
    return;
  }
  l.expect_operands(2, 2);
  if (is_small_pair(key.type) || is_small_pair(key.from)) {
    if (key.from != Type::f16x2 && key.type != Type::f16x2) {
      l.refuse("the device has no such conversion");
    }
    convert_pair(l, key, finite);
    return;
  }
  if (!is_number(key.from) || (!is_number(key.type) && key.type != Type::tf32)) {
    l.refuse("the device has no such conversion");
  }
  if (is_integer(key.type) && is_integer(key.from)) {
    integer_to_integer(l, key);
    return;
  }
  check_rounding(l, key);
  const std::uint32_t a = narrowed_source(l, 1, key.from);
  const Result d = result_of(l, key.type == Type::tf32 ? Type::b32 : key.type);
  Instr& i = l.emit(key);
  i.d = d.slot;
  i.a = a;
  i.imm = spec(key, finite);
  widen(l, d, key.type);
}

}  // namespace

bool lower_convert(Lowering& l) {
  if (l.base() != "cvt") {
    return false;
  }
  convert(l);
  return true;
}

}  // namespace phos::sim::ptx
