// SPDX-License-Identifier: Apache-2.0
// Video instructions, scalar and on two or four parts of a word.
#include "../handlers/video.h"

#include <utility>

#include "topics.h"

namespace phos::sim::ptx {
namespace {

struct Name {
  std::string_view name;
  VideoOp op;
};
constexpr Name kNames[] = {
    {"vadd", VideoOp::add}, {"vsub", VideoOp::sub}, {"vabsdiff", VideoOp::absdiff},
    {"vmin", VideoOp::min}, {"vmax", VideoOp::max}, {"vshl", VideoOp::shl},
    {"vshr", VideoOp::shr}, {"vmad", VideoOp::mad}, {"vset", VideoOp::set},
    {"vavrg", VideoOp::average},
};

// The part that an operand such as %r1.b0 names; 0 if it is the whole register.
VideoPart part_of(Lowering& l, const text::Operand& operand) {
  // SAFETY: a name that is only the end of a token has the dot before it in the text.
  const bool named = operand.kind == text::OperandKind::reg && !operand.name.empty() &&
                     operand.name.size() == 2 && operand.name.data()[-1] == '.';
  if (!named) {
    return 0;
  }
  constexpr std::string_view kParts[] = {"b0", "b1", "b2", "b3", "h0", "h1"};
  for (std::size_t i = 0; i < std::size(kParts); ++i) {
    if (operand.name == kParts[i]) {
      return static_cast<VideoPart>(i + 1);
    }
  }
  l.refuse("'" + std::string(operand.name) + "' is not a part of a register");
}

bool is_signed_word(Lowering& l) {
  const Type type = l.mods.take_type();
  if (type != Type::u32 && type != Type::s32) {
    l.refuse(".u32 or .s32 is expected");
  }
  return type == Type::s32;
}

std::uint32_t word(Lowering& l, text::Operand operand, bool& negated) {
  negated = std::exchange(operand.negated, false);
  return l.source(operand, Type::u32);
}

void take_modifiers(Lowering& l, VideoSpec& spec) {
  spec.d_signed = spec.op != VideoOp::set && is_signed_word(l);
  spec.a_signed = is_signed_word(l);
  spec.b_signed = is_signed_word(l);
  const bool shift = spec.op == VideoOp::shl || spec.op == VideoOp::shr;
  if (shift) {
    const int mode = l.mods.take_one_of({"clamp", "wrap"});
    if (mode < 0 || spec.b_signed) {
      l.refuse(".clamp or .wrap, and a distance of type .u32, are expected");
    }
    spec.wrap = mode == 1;
  }
  if (spec.op == VideoOp::set) {
    const int compare = l.mods.take_one_of({"eq", "ne", "lt", "le", "gt", "ge"});
    if (compare < 0) {
      l.refuse("a comparison is expected");
    }
    spec.compare = static_cast<Compare>(compare);
  } else {
    spec.saturate = l.mods.take("sat");
  }
  if (spec.op == VideoOp::mad) {
    spec.plus_one = l.mods.take("po");
    const int scale = l.mods.take_one_of({"shr7", "shr15"});
    spec.scale = scale < 0 ? 0 : scale == 0 ? 7 : 15;
    return;
  }
  const int second = spec.lanes == 1 ? l.mods.take_one_of({"add", "min", "max"})
                                     : l.mods.take_one_of({"add"});
  spec.second = second < 0 ? VideoSecond::none
                           : static_cast<VideoSecond>(second + static_cast<int>(VideoSecond::add));
}

void lower(Lowering& l, VideoOp op, std::uint8_t lanes) {
  VideoSpec spec;
  spec.op = op;
  spec.lanes = lanes;
  take_modifiers(l, spec);
  const bool three = op == VideoOp::mad || lanes != 1 || spec.second != VideoSecond::none;
  l.expect_operands(three ? 4 : 3, 4);
  bool negate_a = false;
  bool negate_b = false;
  const std::uint32_t a = word(l, l.operand(1), negate_a);
  const std::uint32_t b = word(l, l.operand(2), negate_b);
  const bool third = l.operand_count() == 4;
  const std::uint32_t c = third ? word(l, l.operand(3), spec.negate_c) : kNoSlot;
  spec.a = part_of(l, l.operand(1));
  spec.b = part_of(l, l.operand(2));
  spec.d = part_of(l, l.operand(0));
  if (third && !three) {
    spec.second = VideoSecond::merge;
  }
  spec.negate_product = negate_a != negate_b;
  const bool parts = spec.a != 0 || spec.b != 0 || spec.d != 0;
  if (((negate_a || negate_b || spec.negate_c) && op != VideoOp::mad) || (parts && lanes != 1) ||
      (spec.second == VideoSecond::merge && spec.d == 0)) {
    l.refuse("these operands do not go together");
  }
  const std::uint32_t d = l.target(0, Type::u32);
  if (d == kNoSlot) {
    return;
  }
  Instr& i = l.emit({.op = Op::video});
  i.d = d;
  i.a = a;
  i.b = b;
  i.c = c;
  i.imm = spec.packed();
}

}  // namespace

bool lower_video(Lowering& l) {
  std::string_view base = l.base();
  if (base.empty() || base[0] != 'v') {
    return false;
  }
  std::uint8_t lanes = 1;
  if (base.back() == '2' || base.back() == '4') {
    lanes = base.back() == '2' ? 2 : 4;
    base.remove_suffix(1);
  }
  for (const auto& [name, op] : kNames) {
    const bool scalar_only = op == VideoOp::shl || op == VideoOp::shr || op == VideoOp::mad;
    if (base == name && (lanes == 1 ? op != VideoOp::average : !scalar_only)) {
      lower(l, op, lanes);
      return true;
    }
  }
  return false;
}

}  // namespace phos::sim::ptx
