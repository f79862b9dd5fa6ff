// SPDX-License-Identifier: Apache-2.0
// Opcodes of integer arithmetic. Those that integers and floats share (add, mul, ...) are taken
// here when their type is an integer, and left to float.cc otherwise.
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

bool has_float_type(const text::Form& form) {
  for (const std::string_view modifier : form.modifiers) {
    const Type type = type_named(modifier);
    if (is_float(type) || type == Type::f16x2 || type == Type::bf16x2 || type == Type::f32x2) {
      return true;
    }
  }
  return false;
}

bool is_pair(Type type) { return type == Type::u16x2 || type == Type::s16x2; }

void two(Lowering& l, Op op, Type type) {
  l.expect_operands(3, 3);
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t b = l.source(2, type);
  const std::uint32_t d = l.target(0, type);
  Instr& i = l.emit({.op = op, .type = type});
  i.d = d;
  i.a = a;
  i.b = b;
}

void three(Lowering& l, Op op, Type type, Type third) {
  l.expect_operands(4, 4);
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t b = l.source(2, type);
  const std::uint32_t c = l.source(3, third);
  const std::uint32_t d = l.target(0, third);
  Instr& i = l.emit({.op = op, .type = type});
  i.d = d;
  i.a = a;
  i.b = b;
  i.c = c;
}

Type doubled(Lowering& l, Type type) {
  switch (type) {
    case Type::u16: return Type::u32;
    case Type::s16: return Type::s32;
    case Type::u32: return Type::u64;
    case Type::s32: return Type::s64;
    default: l.refuse("no result is twice as wide as this type");
  }
}

void require_integer(Lowering& l, Type type) {
  if (!is_integer(type) || bytes_of(type) < 2) {
    l.refuse("an integer type of 16 to 64 bits is expected");
  }
}

void add_or_sub(Lowering& l, bool add) {
  const bool sat = l.mods.take("sat");
  const bool cc = l.mods.take("cc");
  const Type type = l.mods.take_type();
  if (!is_pair(type)) {
    require_integer(l, type);
  }
  if ((sat && type != Type::s32) || (cc && bytes_of(type) < 4)) {
    l.refuse("this modifier does not go with this type");
  }
  two(l, cc ? (add ? Op::add_cc : Op::sub_cc) : sat ? (add ? Op::add_sat : Op::sub_sat)
                                                    : (add ? Op::add : Op::sub), type);
}

void with_carry(Lowering& l, bool add) {
  const bool cc = l.mods.take("cc");
  const Type type = l.mods.take_type();
  require_integer(l, type);
  if (bytes_of(type) < 4) {
    l.refuse("carries exist for 32 and 64 bits only");
  }
  two(l, add ? (cc ? Op::addc_cc : Op::addc) : (cc ? Op::subc_cc : Op::subc), type);
}

void multiply(Lowering& l) {
  const int half = l.mods.take_one_of({"lo", "hi", "wide"});
  const Type type = l.mods.take_type();
  require_integer(l, type);
  if (half < 0) {
    l.refuse(".lo, .hi or .wide is expected");
  }
  if (half < 2) {
    two(l, half == 0 ? Op::mul_lo : Op::mul_hi, type);
    return;
  }
  l.expect_operands(3, 3);
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t b = l.source(2, type);
  const std::uint32_t d = l.target(0, doubled(l, type));
  Instr& i = l.emit({.op = Op::mul_wide, .type = type});
  i.d = d;
  i.a = a;
  i.b = b;
}

void multiply_add(Lowering& l) {
  const int half = l.mods.take_one_of({"lo", "hi", "wide"});
  const bool sat = l.mods.take("sat");
  const bool cc = l.mods.take("cc");
  const Type type = l.mods.take_type();
  require_integer(l, type);
  if (half < 0 || (sat && (half != 1 || type != Type::s32)) ||
      (cc && (half == 2 || bytes_of(type) < 4))) {
    l.refuse("these modifiers do not go together");
  }
  if (half == 2) {
    three(l, Op::mad_wide, type, doubled(l, type));
  } else if (cc) {
    three(l, half == 0 ? Op::mad_lo_cc : Op::mad_hi_cc, type, type);
  } else {
    three(l, half == 0 ? Op::mad_lo : sat ? Op::mad_hi_sat : Op::mad_hi, type, type);
  }
}

void multiply_add_carry(Lowering& l) {
  const int half = l.mods.take_one_of({"lo", "hi"});
  const bool cc = l.mods.take("cc");
  const Type type = l.mods.take_type();
  require_integer(l, type);
  if (half < 0 || bytes_of(type) < 4) {
    l.refuse("these modifiers do not go together");
  }
  three(l, half == 0 ? (cc ? Op::madc_lo_cc : Op::madc_lo) : (cc ? Op::madc_hi_cc : Op::madc_hi),
        type, type);
}

void multiply24(Lowering& l, bool add) {
  const int half = l.mods.take_one_of({"lo", "hi"});
  const bool sat = add && l.mods.take("sat");
  const Type type = l.mods.take_type();
  if (half < 0 || (type != Type::u32 && type != Type::s32) ||
      (sat && (half != 1 || type != Type::s32))) {
    l.refuse("these modifiers do not go together");
  }
  if (add) {
    three(l, half == 0 ? Op::mad24_lo : sat ? Op::mad24_hi_sat : Op::mad24_hi, type, type);
  } else {
    two(l, half == 0 ? Op::mul24_lo : Op::mul24_hi, type);
  }
}

void plain_two(Lowering& l, Op op) {
  const Type type = l.mods.take_type();
  require_integer(l, type);
  two(l, op, type);
}

void least_or_most(Lowering& l, bool least) {
  const bool relu = l.mods.take("relu");
  const Type type = l.mods.take_type();
  if (!is_pair(type)) {
    require_integer(l, type);
  }
  if (relu && type != Type::s32 && type != Type::s16x2) {
    l.refuse(".relu does not go with this type");
  }
  two(l, relu ? (least ? Op::min_relu : Op::max_relu) : (least ? Op::min : Op::max), type);
}

void one(Lowering& l, Op op) {
  const Type type = l.mods.take_type();
  if (!is_signed(type) || bytes_of(type) < 2) {
    l.refuse("a signed type is expected");
  }
  l.expect_operands(2, 2);
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t d = l.target(0, type);
  Instr& i = l.emit({.op = op, .type = type});
  i.d = d;
  i.a = a;
}

void dot(Lowering& l, bool four) {
  const int half = four ? 0 : l.mods.take_one_of({"lo", "hi"});
  const Type a = l.mods.take_type();
  const Type b = l.mods.take_type();
  const auto ok = [](Type type) { return type == Type::u32 || type == Type::s32; };
  if (half < 0 || !ok(a) || !ok(b)) {
    l.refuse("two types, each .u32 or .s32, are expected");
  }
  l.expect_operands(4, 4);
  const std::uint32_t sources[] = {l.source(1, a), l.source(2, b), l.source(3, Type::u32)};
  const std::uint32_t d = l.target(0, Type::u32);
  Key key{.op = four ? Op::dp4a : half == 0 ? Op::dp2a_lo : Op::dp2a_hi, .type = Type::u32};
  key.select = static_cast<std::uint8_t>((is_signed(a) ? 1 : 0) | (is_signed(b) ? 2 : 0));
  Instr& i = l.emit(key);
  i.d = d;
  i.a = sources[0];
  i.b = sources[1];
  i.c = sources[2];
}

}  // namespace

bool lower_integer(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "dp4a" || base == "dp2a") {
    dot(l, base == "dp4a");
    return true;
  }
  if (has_float_type(l.form())) {
    return false;
  }
  if (base == "add") add_or_sub(l, true);
  else if (base == "sub") add_or_sub(l, false);
  else if (base == "mul") multiply(l);
  else if (base == "mad") multiply_add(l);
  else if (base == "addc") with_carry(l, true);
  else if (base == "subc") with_carry(l, false);
  else if (base == "madc") multiply_add_carry(l);
  else if (base == "mul24") multiply24(l, false);
  else if (base == "mad24") multiply24(l, true);
  else if (base == "div") plain_two(l, Op::div);
  else if (base == "rem") plain_two(l, Op::rem);
  else if (base == "min") least_or_most(l, true);
  else if (base == "max") least_or_most(l, false);
  else if (base == "abs") one(l, Op::abs);
  else if (base == "neg") one(l, Op::neg);
  else if (base == "sad") {
    const Type type = l.mods.take_type();
    require_integer(l, type);
    three(l, Op::sad, type, type);
  } else {
    return false;
  }
  return true;
}

}  // namespace phos::sim::ptx
