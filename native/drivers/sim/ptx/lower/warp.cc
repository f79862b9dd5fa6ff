// SPDX-License-Identifier: Apache-2.0
// Operations between lanes. Those with .sync wait for the lanes that their mask names; the older
// forms without it work on the lanes that happen to be together.
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

using text::OperandKind;

void wait_for(Lowering& l, Instr& i, std::uint32_t members) {
  (void)l;
  i.kind = Kind::warp_sync;
  i.e = members;
}

void shfl(Lowering& l) {
  const bool sync = l.mods.take("sync");
  const int mode = l.mods.take_one_of({"up", "down", "bfly", "idx"});
  if (mode < 0 || l.mods.take_type() != Type::b32) {
    l.refuse("a mode and .b32 are expected");
  }
  l.expect_operands(sync ? 5 : 4, sync ? 5 : 4);
  const text::Operand& result = l.operand(0);
  const bool pair = result.kind == OperandKind::pair;
  const std::uint32_t a = l.source(1, Type::b32);
  const std::uint32_t b = l.source(2, Type::b32);
  const std::uint32_t c = l.source(3, Type::b32);
  const std::uint32_t members = sync ? l.source(4, Type::b32) : kNoSlot;
  std::uint32_t d = l.target(pair ? result.elements[0] : result, Type::b32);
  d = d == kNoSlot ? l.temporary(4) : d;
  const std::uint32_t d2 = pair ? l.predicate_target(result.elements[1]) : kNoSlot;
  Instr& i = l.emit({.op = Op::shfl, .type = Type::b32,
                     .select = static_cast<std::uint8_t>(mode)});
  i.d = d;
  i.d2 = d2;
  i.a = a;
  i.b = b;
  i.c = c;
  if (sync) {
    wait_for(l, i, members);
  }
}

void vote(Lowering& l) {
  const bool sync = l.mods.take("sync");
  const int mode = l.mods.take_one_of({"all", "any", "uni", "ballot"});
  const Type type = l.mods.take_type();
  if (mode < 0 || (mode == 3 ? type != Type::b32 : type != Type::pred)) {
    l.refuse("a mode and its type are expected");
  }
  l.expect_operands(sync ? 3 : 2, sync ? 3 : 2);
  bool negated = false;
  const std::uint32_t a = l.predicate_source(l.operand(1), negated);
  const std::uint32_t members = sync ? l.source(2, Type::b32) : kNoSlot;
  const std::uint32_t d = mode == 3 ? l.target(0, Type::b32) : l.predicate_target(l.operand(0));
  Instr& i = l.emit({.op = Op::vote, .select = static_cast<std::uint8_t>(mode)});
  i.d = d;
  i.a = a;
  i.flags = static_cast<std::uint8_t>(i.flags | (negated ? kNegateA : 0) | kPredicateA |
                                      (mode == 3 ? 0 : kPredicateD));
  if (sync) {
    wait_for(l, i, members);
  }
}

void match(Lowering& l) {
  const int mode = l.mods.take_one_of({"any", "all"});
  const bool sync = l.mods.take("sync");
  const Type type = l.mods.take_type();
  if (mode < 0 || !sync || (type != Type::b32 && type != Type::b64)) {
    l.refuse(".any or .all, .sync, and .b32 or .b64 are expected");
  }
  l.expect_operands(3, 3);
  const text::Operand& result = l.operand(0);
  const bool pair = result.kind == OperandKind::pair;
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t members = l.source(2, Type::b32);
  const std::uint32_t d = l.target(pair ? result.elements[0] : result, Type::b32);
  const std::uint32_t d2 = pair ? l.predicate_target(result.elements[1]) : kNoSlot;
  if (pair && mode == 0) {
    l.refuse("match.any has no predicate result");
  }
  Instr& i = l.emit({.op = mode == 0 ? Op::match_any : Op::match_all, .type = type});
  i.d = d;
  i.d2 = d2;
  i.a = a;
  i.flags = static_cast<std::uint8_t>(i.flags | (type == Type::b64 ? kWideA : 0));
  wait_for(l, i, members);
}

void redux(Lowering& l) {
  const bool sync = l.mods.take("sync");
  const int op = l.mods.take_one_of({"add", "min", "max", "and", "or", "xor"});
  const Type type = l.mods.take_type();
  const bool logic = op >= 3;
  if (!sync || op < 0 ||
      (logic ? type != Type::b32 : type != Type::u32 && type != Type::s32)) {
    l.refuse(".sync, an operation and its type are expected");
  }
  l.expect_operands(3, 3);
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t members = l.source(2, Type::b32);
  const std::uint32_t d = l.target(0, type);
  Instr& i = l.emit({.op = Op::redux, .type = type, .select = static_cast<std::uint8_t>(op)});
  i.d = d;
  i.a = a;
  wait_for(l, i, members);
}

void elect(Lowering& l) {
  if (!l.mods.take("sync")) {
    l.refuse(".sync is expected");
  }
  l.expect_operands(2, 2);
  const text::Operand& result = l.operand(0);
  if (result.kind != OperandKind::pair) {
    l.refuse("a register and a predicate are expected as result");
  }
  const std::uint32_t members = l.source(1, Type::b32);
  const std::uint32_t d = l.target(result.elements[0], Type::b32);
  const std::uint32_t d2 = l.predicate_target(result.elements[1]);
  Instr& i = l.emit({.op = Op::elect});
  i.d = d;
  i.d2 = d2;
  wait_for(l, i, members);
}

// bar.warp.sync; other barriers are in control.cc.
void warp_barrier(Lowering& l) {
  l.mods.take("warp");
  if (!l.mods.take("sync")) {
    l.refuse(".sync is expected");
  }
  l.expect_operands(1, 1);
  const std::uint32_t members = l.source(0, Type::b32);
  Instr& i = l.emit({.op = Op::warp_sync_only});
  wait_for(l, i, members);
}

}  // namespace

bool lower_warp(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "shfl") shfl(l);
  else if (base == "vote") vote(l);
  else if (base == "match") match(l);
  else if (base == "redux") redux(l);
  else if (base == "elect") elect(l);
  else if (base == "activemask") {
    l.mods.take("b32");
    l.expect_operands(1, 1);
    const std::uint32_t d = l.target(0, Type::b32);
    l.emit({.op = Op::activemask}).d = d;
  } else if (base == "bar" && l.form().modifiers.size() == 2 &&
             l.form().modifiers[0] == "warp") {
    warp_barrier(l);
  } else {
    return false;
  }
  return true;
}

}  // namespace phos::sim::ptx
