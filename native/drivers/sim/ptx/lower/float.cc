// SPDX-License-Identifier: Apache-2.0
// Opcodes of floating point. Without a rounding modifier add, sub and mul round to nearest.
#include <array>
#include <span>

#include "lowering.h"

namespace phos::sim::ptx {
namespace {

bool is_half(Type type) {
  return type == Type::f16 || type == Type::f16x2 || type == Type::bf16 || type == Type::bf16x2;
}

void require_float(Lowering& l, Type type) {
  if (type != Type::f32 && type != Type::f64 && !is_half(type)) {
    l.refuse("a floating-point type is expected");
  }
}

// d and `count` sources of the type.
Instr& emit_float(Lowering& l, const Key& key, std::size_t count) {
  l.expect_operands(count + 1, count + 1);
  std::array<std::uint32_t, 3> sources{kNoSlot, kNoSlot, kNoSlot};
  for (std::size_t i = 0; i < count; ++i) {
    sources[i] = l.source(i + 1, key.type);
  }
  const std::uint32_t d = l.target(0, key.type);
  Instr& instr = l.emit(key);
  instr.d = d;
  instr.a = sources[0];
  instr.b = sources[1];
  instr.c = sources[2];
  return instr;
}

Key take_key(Lowering& l, Op op) {
  Key key{.op = op};
  key.rounding = l.mods.take_rounding();
  key.ftz = l.mods.take("ftz");
  key.sat = l.mods.take("sat");
  key.relu = l.mods.take("relu");
  key.type = l.mods.take_type();
  require_float(l, key.type);
  const bool directed = key.rounding != Rounding::none && key.rounding != Rounding::rn;
  if (key.rounding > Rounding::rp || (directed && is_half(key.type))) {
    l.refuse("this rounding does not go with this type");
  }
  const bool approximate = op == Op::frcp_approx || op == Op::frsqrt_approx;
  if (key.type == Type::f64 && ((key.ftz && !approximate) || key.sat)) {
    l.refuse(".ftz and .sat do not go with .f64");
  }
  return key;
}

// Two singles in a 64-bit register: split, computed, joined.
void paired_singles(Lowering& l, Op op, std::size_t count) {
  Key key{.op = op};
  key.rounding = l.mods.take_rounding();
  key.ftz = l.mods.take("ftz");
  key.type = Type::f32;
  l.mods.take("f32x2");
  l.expect_operands(count + 1, count + 1);
  std::array<std::array<std::uint32_t, 2>, 3> parts{};
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t whole = l.source(i + 1, Type::b64);
    parts[i] = {l.temporary(4), l.temporary(4)};
    const std::uint32_t places = l.extra(parts[i]);
    Instr& unpack = l.emit({.op = Op::unpack, .type = Type::b64, .from = Type::b32});
    unpack.a = whole;
    unpack.target = places;
  }
  const std::array<std::uint32_t, 2> results{l.temporary(4), l.temporary(4)};
  for (std::size_t half = 0; half < 2; ++half) {
    Instr& instr = l.emit(key);
    instr.d = results[half];
    instr.a = parts[0][half];
    instr.b = parts[1][half];
    instr.c = parts[2][half];
  }
  const std::uint32_t d = l.target(0, Type::b64);
  const std::uint32_t places = l.extra(results);
  Instr& pack = l.emit({.op = Op::pack, .type = Type::b64, .from = Type::b32});
  pack.d = d;
  pack.target = places;
}

bool is_paired(const text::Form& form) {
  return !form.modifiers.empty() && form.modifiers.back() == "f32x2";
}

void arithmetic(Lowering& l, Op op, std::size_t count) {
  if (is_paired(l.form())) {
    paired_singles(l, op, count);
    return;
  }
  // add.f32.bf16 and the like mix types; they came with sm_100.
  Key key = take_key(l, op);
  if (key.relu) {
    if (op != Op::ffma || !is_half(key.type) || key.sat) {
      l.refuse(".relu does not go with this");
    }
    key.op = Op::ffma_relu;
  }
  if (op == Op::ffma && key.rounding == Rounding::none && !is_half(key.type)) {
    key.rounding = Rounding::rn;  // mad.f32 of old code
  }
  emit_float(l, key, count);
}

void divide(Lowering& l) {
  const int kind = l.mods.take_one_of({"approx", "full"});
  const Key key = take_key(l, kind == 0 ? Op::fdiv_approx : kind == 1 ? Op::fdiv_full : Op::fdiv);
  if (is_half(key.type) || (kind >= 0 && key.type != Type::f32)) {
    l.refuse("this type cannot be divided so");
  }
  emit_float(l, key, 2);
}

void one_operand(Lowering& l, Op exact, Op approx, Op wide_approx) {
  const bool approximate = l.mods.take("approx");
  Key key = take_key(l, approximate ? approx : exact);
  if (approximate && key.type == Type::f64) {
    key.op = wide_approx;
  }
  if (key.op == Op::nop || (approximate && key.rounding != Rounding::none)) {
    l.refuse("the device has no such instruction");
  }
  emit_float(l, key, 1);
}

void transcendental(Lowering& l, Op op) {
  if (!l.mods.take("approx")) {
    l.refuse(".approx is expected");
  }
  const Key key = take_key(l, op);
  emit_float(l, key, 1);
}

void least_or_most(Lowering& l, bool least) {
  Key key{.op = Op::nop};
  key.ftz = l.mods.take("ftz");
  const bool nan = l.mods.take("NaN");
  const bool sign = l.mods.take("xorsign") && l.mods.take("abs");
  key.type = l.mods.take_type();
  require_float(l, key.type);
  constexpr Op kLeast[] = {Op::fmin, Op::fmin_nan, Op::fmin_xorsign, Op::fmin_nan_xorsign};
  constexpr Op kMost[] = {Op::fmax, Op::fmax_nan, Op::fmax_xorsign, Op::fmax_nan_xorsign};
  key.op = (least ? kLeast : kMost)[(nan ? 1 : 0) + (sign ? 2 : 0)];
  if (l.operand_count() == 4 && key.type == Type::f32) {  // of three, one pair after the other
    const std::uint32_t a = l.source(1, key.type);
    const std::uint32_t b = l.source(2, key.type);
    const std::uint32_t c = l.source(3, key.type);
    const std::uint32_t d = l.target(0, key.type);
    const std::uint32_t between = l.temporary(4);
    Instr& first = l.emit(key);
    first.d = between;
    first.a = a;
    first.b = b;
    Instr& second = l.emit(key);
    second.d = d;
    second.a = between;
    second.b = c;
    return;
  }
  emit_float(l, key, 2);
}

void testp(Lowering& l) {
  constexpr Op kTests[] = {Op::testp_finite, Op::testp_infinite, Op::testp_number,
                           Op::testp_notanumber, Op::testp_normal, Op::testp_subnormal};
  const int test = l.mods.take_one_of({"finite", "infinite", "number", "notanumber", "normal",
                                       "subnormal"});
  const Type type = l.mods.take_type();
  if (test < 0 || (type != Type::f32 && type != Type::f64)) {
    l.refuse("a property and .f32 or .f64 are expected");
  }
  l.expect_operands(2, 2);
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t d = l.predicate_target(l.operand(0));
  Instr& i = l.emit({.op = kTests[test], .type = type});
  i.d = d;
  i.a = a;
}

}  // namespace

bool lower_float(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "add") arithmetic(l, Op::fadd, 2);
  else if (base == "sub") arithmetic(l, Op::fsub, 2);
  else if (base == "mul") arithmetic(l, Op::fmul, 2);
  else if (base == "fma" || base == "mad") arithmetic(l, Op::ffma, 3);
  else if (base == "div") divide(l);
  else if (base == "rcp") one_operand(l, Op::frcp, Op::frcp_approx, Op::frcp64h);
  else if (base == "sqrt") one_operand(l, Op::fsqrt, Op::fsqrt_approx, Op::nop);
  else if (base == "rsqrt") one_operand(l, Op::nop, Op::frsqrt_approx, Op::frsqrt64h);
  else if (base == "abs") emit_float(l, take_key(l, Op::fabs), 1);
  else if (base == "neg") emit_float(l, take_key(l, Op::fneg), 1);
  else if (base == "min") least_or_most(l, true);
  else if (base == "max") least_or_most(l, false);
  else if (base == "ex2") transcendental(l, Op::fex2);
  else if (base == "lg2") transcendental(l, Op::flg2);
  else if (base == "sin") transcendental(l, Op::fsin);
  else if (base == "cos") transcendental(l, Op::fcos);
  else if (base == "tanh") transcendental(l, Op::ftanh);
  else if (base == "copysign") emit_float(l, take_key(l, Op::copysign), 2);
  else if (base == "testp") testp(l);
  else return false;
  return true;
}

}  // namespace phos::sim::ptx
