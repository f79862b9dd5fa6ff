// SPDX-License-Identifier: Apache-2.0
// setp, set, selp, slct.
#include <array>
#include <utility>

#include "lowering.h"

namespace phos::sim::ptx {
namespace {

struct Name {
  std::string_view name;
  Compare compare;
};
constexpr Name kNames[] = {
    {"eq", Compare::eq}, {"ne", Compare::ne}, {"lt", Compare::lt}, {"le", Compare::le},
    {"gt", Compare::gt}, {"ge", Compare::ge}, {"equ", Compare::equ}, {"neu", Compare::neu},
    {"ltu", Compare::ltu}, {"leu", Compare::leu}, {"gtu", Compare::gtu}, {"geu", Compare::geu},
    {"num", Compare::num}, {"nan", Compare::nan},
    // Unsigned comparisons under their older names.
    {"lo", Compare::lt}, {"ls", Compare::le}, {"hi", Compare::gt}, {"hs", Compare::ge},
};

struct Comparison {
  Compare compare = Compare::eq;
  int combine = 0;  // 1 and, 2 or, 3 xor
  bool ftz = false;
  bool older_name = false;
};

Comparison take_comparison(Lowering& l) {
  Comparison result;
  bool found = false;
  for (const auto& [name, compare] : kNames) {
    if (l.mods.take(name)) {
      result.compare = compare;
      result.older_name = name == "lo" || name == "ls" || name == "hi" || name == "hs";
      found = true;
      break;
    }
  }
  if (!found) {
    l.refuse("a comparison is expected");
  }
  result.combine = l.mods.take_one_of({"and", "or", "xor"}) + 1;
  result.ftz = l.mods.take("ftz");
  return result;
}

void check_type(Lowering& l, Type type, const Comparison& comparison) {
  const bool ordered = comparison.compare != Compare::eq && comparison.compare != Compare::ne;
  if (bytes_of(type) < 2 || bytes_of(type) > 8 || (is_bits(type) && ordered) ||
      (comparison.older_name && !is_unsigned(type))) {
    l.refuse("this comparison does not go with this type");
  }
}

void fill(Instr& i, const Comparison& comparison, std::uint32_t c, bool negated) {
  i.imm = comparison.combine;
  i.target = static_cast<std::uint32_t>(comparison.compare);
  i.c = c;
  i.flags = static_cast<std::uint8_t>(i.flags | (negated ? kNegateC : 0));
}

void setp(Lowering& l) {
  const Comparison comparison = take_comparison(l);
  const Type type = l.mods.take_type();
  check_type(l, type, comparison);
  const bool combined = comparison.combine != 0;
  l.expect_operands(combined ? 4 : 3, combined ? 4 : 3);
  const text::Operand& result = l.operand(0);
  const bool pair = result.kind == text::OperandKind::pair;
  const std::uint32_t d = l.predicate_target(pair ? result.elements[0] : result);
  const std::uint32_t d2 = pair ? l.predicate_target(result.elements[1]) : kNoSlot;
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t b = l.source(2, type);
  bool negated = false;
  const std::uint32_t c = combined ? l.predicate_source(l.operand(3), negated) : kNoSlot;
  Instr& i = l.emit({.op = Op::setp, .from = type, .ftz = comparison.ftz,
                     .select = static_cast<std::uint8_t>(comparison.compare)});
  i.d = d;
  i.d2 = d2;
  i.a = a;
  i.b = b;
  fill(i, comparison, c, negated);
}

std::uint64_t truth(Lowering& l, Type type) {
  switch (type) {
    case Type::u32:
    case Type::s32: return 0xffffffff;
    case Type::u16:
    case Type::s16: return 0xffff;
    case Type::f32: return 0x3f800000;
    case Type::f16: return 0x3c00;
    case Type::bf16: return 0x3f80;
    case Type::f16x2: return 0x3c003c00;
    case Type::bf16x2: return 0x3f803f80;
    default: l.refuse("set has no result of this type");
  }
}

void set(Lowering& l) {
  const Comparison comparison = take_comparison(l);
  const Type result = l.mods.take_type();
  const Type type = l.mods.take_type();
  check_type(l, type, comparison);
  const bool combined = comparison.combine != 0;
  l.expect_operands(combined ? 4 : 3, combined ? 4 : 3);
  const bool pair = type == Type::f16x2 || type == Type::bf16x2;
  std::uint64_t yes = truth(l, result);
  if (pair && bytes_of(result) != 4) {
    l.refuse("the result of a pair must be a pair");
  }
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t b = l.source(2, type);
  bool negated = false;
  const std::uint32_t c = combined ? l.predicate_source(l.operand(3), negated) : kNoSlot;
  const std::uint32_t d = l.target(0, result);
  const Type word = unsigned_of(bytes_of(result));
  const std::uint32_t yes_slot = l.constant(word, yes);
  const std::uint32_t no_slot = l.constant(word, 0);
  const std::uint32_t low = l.temporary(4);
  const std::uint32_t high = pair ? l.temporary(4) : kNoSlot;
  Instr& i = l.emit({.op = Op::setp, .from = type, .ftz = comparison.ftz,
                     .select = static_cast<std::uint8_t>(comparison.compare)});
  i.d = low;
  i.d2 = high;
  i.a = a;
  i.b = b;
  fill(i, comparison, c, negated);
  // The value is chosen by the predicate; the halves of a pair each by their own.
  Instr& choose = l.emit({.op = pair ? Op::set : Op::selp, .type = word});
  choose.d = d;
  choose.a = pair ? low : yes_slot;
  choose.b = pair ? yes_slot : no_slot;
  choose.c = pair ? high : low;
}

void selp(Lowering& l) {
  const Type type = l.mods.take_type();
  if (bytes_of(type) < 2 || bytes_of(type) > 8) {
    l.refuse("a type of 16 to 64 bits is expected");
  }
  l.expect_operands(4, 4);
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t b = l.source(2, type);
  bool negated = false;
  const std::uint32_t c = l.predicate_source(l.operand(3), negated);
  const std::uint32_t d = l.target(0, type);
  Instr& i = l.emit({.op = Op::selp, .type = type});
  i.d = d;
  i.a = a;
  i.b = b;
  i.c = c;
  i.flags = static_cast<std::uint8_t>(i.flags | (negated ? kNegateC : 0));
}

void slct(Lowering& l) {
  const bool ftz = l.mods.take("ftz");
  const Type type = l.mods.take_type();
  const Type by = l.mods.take_type();
  if (by != Type::s32 && by != Type::f32) {
    l.refuse("the selecting operand must be .s32 or .f32");
  }
  l.expect_operands(4, 4);
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t b = l.source(2, type);
  const std::uint32_t c = l.source(3, by);
  const std::uint32_t d = l.target(0, type);
  Instr& i = l.emit({.op = by == Type::s32 ? Op::slct_s32 : Op::slct_f32, .type = type,
                     .ftz = ftz});
  i.d = d;
  i.a = a;
  i.b = b;
  i.c = c;
}

}  // namespace

bool lower_compare(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "setp") setp(l);
  else if (base == "set") set(l);
  else if (base == "selp") selp(l);
  else if (base == "slct") slct(l);
  else return false;
  return true;
}

}  // namespace phos::sim::ptx
