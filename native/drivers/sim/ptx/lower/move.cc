// SPDX-License-Identifier: Apache-2.0
// mov, with its packing and unpacking forms, and cvta.
#include <array>

#include "../../memory/address_space.h"
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

using text::OperandKind;

Type part_of(Lowering& l, Type whole, std::size_t count) {
  const std::uint32_t bytes = bytes_of(whole) / static_cast<std::uint32_t>(count);
  if ((count != 2 && count != 4) || bytes == 0 ||
      bytes * static_cast<std::uint32_t>(count) != bytes_of(whole)) {
    l.refuse("the vector must have 2 or 4 elements");
  }
  return bytes == 1 ? Type::b8 : bytes == 2 ? Type::b16 : bytes == 4 ? Type::b32 : Type::b64;
}

void pack(Lowering& l, Type type) {
  const auto& elements = l.operand(1).elements;
  const Type part = part_of(l, type, elements.size());
  std::array<std::uint32_t, 4> slots{};
  for (std::size_t i = 0; i < elements.size(); ++i) {
    slots[i] = l.source(elements[i], part);
  }
  const std::uint32_t d = l.target(0, type);
  const std::uint32_t places = l.extra({slots.data(), elements.size()});
  Instr& i = l.emit({.op = Op::pack, .type = type, .from = part});
  i.d = d;
  i.target = places;
}

void unpack(Lowering& l, Type type) {
  const auto& elements = l.operand(0).elements;
  const Type part = part_of(l, type, elements.size());
  const std::uint32_t a = l.source(1, type);
  std::array<std::uint32_t, 4> slots{};
  for (std::size_t i = 0; i < elements.size(); ++i) {
    slots[i] = l.target(elements[i], part);
  }
  const std::uint32_t places = l.extra({slots.data(), elements.size()});
  Instr& i = l.emit({.op = Op::unpack, .type = type, .from = part});
  i.a = a;
  i.target = places;
}

void move(Lowering& l) {
  const Type type = l.mods.take_type();
  l.expect_operands(2, 2);
  const text::Operand& from = l.operand(1);
  if (type == Type::pred) {
    bool negated = false;
    const std::uint32_t a = l.predicate_source(from, negated);
    const std::uint32_t d = l.predicate_target(l.operand(0));
    Instr& i = l.emit({.op = Op::mov_pred});
    i.d = d;
    i.a = a;
    i.flags = static_cast<std::uint8_t>(i.flags | (negated ? kNegateA : 0));
    return;
  }
  if (bytes_of(type) < 2) {
    l.refuse("a type of 16 to 128 bits is expected");
  }
  if (from.kind == OperandKind::vector) {
    pack(l, type);
  } else if (l.operand(0).kind == OperandKind::vector) {
    unpack(l, type);
  } else {
    const std::uint32_t a = l.source(from, type);
    const std::uint32_t d = l.target(0, type);
    if (d == kNoSlot) {
      return;
    }
    Instr& i = l.emit({.op = Op::mov, .type = type});
    i.d = d;
    i.a = a;
  }
}

std::uint64_t window_of(Lowering& l) {
  l.mods.take("param::entry");
  const int space = l.mods.take_one_of({"global", "const", "shared", "shared::cta",
                                        "shared::cluster", "local", "param"});
  constexpr std::uint64_t kWindows[] = {0, 0, kSharedWindow, kSharedWindow, kSharedWindow,
                                        kLocalWindow, kParamWindow};
  for (const std::string_view modifier : l.form().modifiers) {
    if (modifier == "param::entry") {
      return kParamWindow;
    }
  }
  if (space < 0) {
    l.refuse("a state space is expected");
  }
  return kWindows[space];
}

void convert_address(Lowering& l) {
  const bool to_space = l.mods.take("to");
  const std::uint64_t window = window_of(l);
  const Type type = l.mods.take_type();
  if (type != Type::u64) {
    l.refuse("only addresses of 64 bits are supported");
  }
  l.expect_operands(2, 2);
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t d = l.target(0, type);
  Instr& i = l.emit({.op = to_space ? Op::cvta_from : Op::cvta_to, .type = type, .from = type});
  i.d = d;
  i.a = a;
  i.imm = static_cast<std::int64_t>(window);
}

void is_space(Lowering& l) {
  const std::uint64_t window = window_of(l);
  l.expect_operands(2, 2);
  const std::uint32_t a = l.source(1, Type::u64);
  const std::uint32_t d = l.predicate_target(l.operand(0));
  Instr& i = l.emit({.op = Op::isspacep, .type = Type::u64});
  i.d = d;
  i.a = a;
  i.imm = static_cast<std::int64_t>(window);
}

}  // namespace

bool lower_move(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "mov") move(l);
  else if (base == "cvta") convert_address(l);
  else if (base == "isspacep") is_space(l);
  else return false;
  return true;
}

}  // namespace phos::sim::ptx
