// SPDX-License-Identifier: Apache-2.0
// Opcodes on bits and bytes.
#include <array>

#include "lowering.h"

namespace phos::sim::ptx {
namespace {

void require_bits(Lowering& l, Type type, std::uint32_t least = 2) {
  if (!is_bits(type) || bytes_of(type) < least || bytes_of(type) > 8) {
    l.refuse("an untyped size is expected (.b16, .b32 or .b64)");
  }
}

// Results and sources with a type for each; the key is of the operation.
void emit_typed(Lowering& l, const Key& key, Type result, std::initializer_list<Type> sources) {
  l.expect_operands(sources.size() + 1, sources.size() + 1);
  std::array<std::uint32_t, 4> slots{kNoSlot, kNoSlot, kNoSlot, kNoSlot};
  std::size_t index = 0;
  for (const Type type : sources) {
    slots[index] = l.source(index + 1, type);
    ++index;
  }
  const std::uint32_t d = l.target(0, result);
  Instr& i = l.emit(key);
  i.d = d;
  i.a = slots[0];
  i.b = slots[1];
  i.c = slots[2];
  i.e = slots[3];
}

void logic(Lowering& l, Op op, Op on_predicates) {
  const Type type = l.mods.take_type();
  const bool one = op == Op::not_;
  if (type == Type::pred) {
    l.expect_operands(one ? 2 : 3, one ? 2 : 3);
    bool negate_a = false;
    bool negate_b = false;
    const std::uint32_t a = l.predicate_source(l.operand(1), negate_a);
    const std::uint32_t b = one ? kNoSlot : l.predicate_source(l.operand(2), negate_b);
    const std::uint32_t d = l.predicate_target(l.operand(0));
    Instr& i = l.emit({.op = on_predicates});
    i.d = d;
    i.a = a;
    i.b = b;
    i.flags = static_cast<std::uint8_t>(i.flags | (negate_a ? kNegateA : 0) |
                                        (negate_b ? kNegateB : 0));
    return;
  }
  require_bits(l, type);
  if (one) {
    emit_typed(l, {.op = op, .type = type}, type, {type});
  } else {
    emit_typed(l, {.op = op, .type = type}, type, {type, type});
  }
}

void shift(Lowering& l, Op op) {
  const Type type = l.mods.take_type();
  if (bytes_of(type) < 2 || bytes_of(type) > 8 || is_float(type)) {
    l.refuse("an integer type is expected");
  }
  const Type own = is_signed(type) ? type : unsigned_of(bytes_of(type));
  emit_typed(l, {.op = op, .type = own}, type, {type, Type::u32});
}

void funnel(Lowering& l) {
  const bool left = l.mods.take("l");
  const bool right = !left && l.mods.take("r");
  const bool wrap = l.mods.take("wrap");
  const bool clamp = !wrap && l.mods.take("clamp");
  if ((!left && !right) || (!wrap && !clamp) || l.mods.take_type() != Type::b32) {
    l.refuse("a direction, .wrap or .clamp, and .b32 are expected");
  }
  const Op op = left ? (wrap ? Op::shf_l_wrap : Op::shf_l_clamp)
                     : (wrap ? Op::shf_r_wrap : Op::shf_r_clamp);
  emit_typed(l, {.op = op, .type = Type::b32}, Type::b32, {Type::b32, Type::b32, Type::u32});
}

void lop3(Lowering& l) {
  const int combine = l.mods.take_one_of({"or", "and"});
  if (l.mods.take_type() != Type::b32) {
    l.refuse(".b32 is expected");
  }
  l.expect_operands(combine >= 0 ? 6 : 5, combine >= 0 ? 6 : 5);
  if (!l.is_immediate(l.operand(4))) {
    l.refuse("the table must be an immediate");
  }
  const std::uint32_t a = l.source(1, Type::b32);
  const std::uint32_t b = l.source(2, Type::b32);
  const std::uint32_t c = l.source(3, Type::b32);
  const text::Operand& result = l.operand(0);
  if (combine >= 0 && result.kind != text::OperandKind::pair) {
    l.refuse("a register and a predicate are expected as result");
  }
  std::uint32_t d = l.target(combine >= 0 ? result.elements[0] : result, Type::b32);
  d = d == kNoSlot ? l.temporary(4) : d;
  bool negated = false;
  const std::uint32_t q = combine >= 0 ? l.predicate_source(l.operand(5), negated) : kNoSlot;
  Instr& i = l.emit({.op = Op::lop3, .type = Type::b32});
  i.d = d;
  i.a = a;
  i.b = b;
  i.c = c;
  i.imm = l.operand(4).value & 0xff;
  if (combine >= 0) {  // p = (d != 0) or/and q
    const std::uint32_t zero = l.constant(Type::u32, 0);
    const std::uint32_t p = l.predicate_target(result.elements[1]);
    Instr& test = l.emit({.op = Op::setp, .from = Type::u32,
                          .select = static_cast<std::uint8_t>(Compare::ne)});
    test.d = p;
    test.a = d;
    test.b = zero;
    test.c = q;
    test.imm = combine == 0 ? 2 : 1;
    test.target = static_cast<std::uint32_t>(Compare::ne);
    test.flags = static_cast<std::uint8_t>(test.flags | (negated ? kNegateC : 0));
  }
}

void prmt(Lowering& l) {
  constexpr Op kModes[] = {Op::prmt_f4e, Op::prmt_b4e, Op::prmt_rc8,
                           Op::prmt_ecl, Op::prmt_ecr, Op::prmt_rc16};
  if (l.mods.take_type() != Type::b32) {
    l.refuse(".b32 is expected");
  }
  const int mode = l.mods.take_one_of({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  emit_typed(l, {.op = mode < 0 ? Op::prmt : kModes[mode], .type = Type::b32}, Type::b32,
             {Type::b32, Type::b32, Type::b32});
}

void clamp_or_wrap(Lowering& l, Op clamped, Op wrapped) {
  const bool wrap = l.mods.take("wrap");
  if (!wrap) {
    l.mods.take("clamp");
  }
  const Type type = l.mods.take_type();
  if (bytes_of(type) != 4) {
    l.refuse("a type of 32 bits is expected");
  }
  emit_typed(l, {.op = wrap ? wrapped : clamped, .type = type}, type, {type, Type::u32});
}

void bfind(Lowering& l) {
  const bool amount = l.mods.take("shiftamt");
  const Type type = l.mods.take_type();
  if (!is_integer(type) || bytes_of(type) < 4) {
    l.refuse("an integer type of 32 or 64 bits is expected");
  }
  emit_typed(l, {.op = amount ? Op::bfind_shift : Op::bfind, .type = type}, Type::u32, {type});
}

void counting(Lowering& l, Op op) {
  const Type type = l.mods.take_type();
  require_bits(l, type, 4);
  emit_typed(l, {.op = op, .type = type}, Type::u32, {type});
}

}  // namespace

bool lower_bits(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "and") logic(l, Op::and_, Op::and_pred);
  else if (base == "or") logic(l, Op::or_, Op::or_pred);
  else if (base == "xor") logic(l, Op::xor_, Op::xor_pred);
  else if (base == "not") logic(l, Op::not_, Op::not_pred);
  else if (base == "shl") shift(l, Op::shl);
  else if (base == "shr") shift(l, Op::shr);
  else if (base == "shf") funnel(l);
  else if (base == "lop3") lop3(l);
  else if (base == "prmt") prmt(l);
  else if (base == "popc") counting(l, Op::popc);
  else if (base == "clz") counting(l, Op::clz);
  else if (base == "bfind") bfind(l);
  else if (base == "bmsk") clamp_or_wrap(l, Op::bmsk_clamp, Op::bmsk_wrap);
  else if (base == "szext") clamp_or_wrap(l, Op::szext_clamp, Op::szext_wrap);
  else if (base == "brev" || base == "cnot") {
    const Type type = l.mods.take_type();
    require_bits(l, type, base == "brev" ? 4 : 2);
    emit_typed(l, {.op = base == "brev" ? Op::brev : Op::cnot, .type = type}, type, {type});
  } else if (base == "bfe") {
    const Type type = l.mods.take_type();
    if (!is_integer(type) || bytes_of(type) < 4) {
      l.refuse("an integer type of 32 or 64 bits is expected");
    }
    emit_typed(l, {.op = Op::bfe, .type = type}, type, {type, Type::u32, Type::u32});
  } else if (base == "bfi") {
    const Type type = l.mods.take_type();
    require_bits(l, type, 4);
    emit_typed(l, {.op = Op::bfi, .type = type}, type, {type, type, Type::u32, Type::u32});
  } else if (base == "fns") {
    if (l.mods.take_type() != Type::b32) {
      l.refuse(".b32 is expected");
    }
    emit_typed(l, {.op = Op::fns, .type = Type::b32}, Type::b32,
               {Type::b32, Type::b32, Type::s32});
  } else {
    return false;
  }
  return true;
}

}  // namespace phos::sim::ptx
