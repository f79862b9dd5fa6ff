// SPDX-License-Identifier: Apache-2.0
// mbarrier, as far as sm_86 has it, and cp.async.mbarrier.arrive.
#include "../handlers/mbarrier.h"

#include "topics.h"

namespace phos::sim::ptx {
namespace {

struct Parts {
  BarrierOp op;
  std::size_t address;  // operand
  bool count = false;   // may follow the address
  bool state = false;   // follows the address
};

Parts take_parts(Lowering& l) {
  if (l.mods.take("init")) return {BarrierOp::init, 0, true};
  if (l.mods.take("inval")) return {BarrierOp::inval, 0};
  if (l.mods.take("arrive")) {
    const bool partial = l.mods.take("noComplete");
    return {partial ? BarrierOp::arrive_no_complete : BarrierOp::arrive, 1, true};
  }
  if (l.mods.take("arrive_drop")) {
    const bool partial = l.mods.take("noComplete");
    return {partial ? BarrierOp::drop_no_complete : BarrierOp::drop, 1, true};
  }
  if (l.mods.take("test_wait") || l.mods.take("try_wait")) {
    const bool parity = l.mods.take("parity");
    return {parity ? BarrierOp::test_parity : BarrierOp::test_wait, 1, false, true};
  }
  l.refuse("the device has no such instruction");
}

Space take_space(Lowering& l) {
  return l.mods.take("shared") || l.mods.take("shared::cta") ? Space::shared : Space::generic;
}

void pending_count(Lowering& l) {
  l.mods.take("b64");
  l.expect_operands(2, 2);
  const std::uint32_t a = l.source(1, Type::b64);
  const std::uint32_t d = l.target(0, Type::b32);
  if (d == kNoSlot) {
    return;
  }
  Instr& i = l.emit({.op = Op::mbarrier,
                     .select = static_cast<std::uint8_t>(BarrierOp::pending_count)});
  i.d = d;
  i.a = a;
}

Instr& emit_at(Lowering& l, BarrierOp op, const Lowering::Address& at, Space space) {
  if (at.slot == kNoSlot) {
    l.refuse("a barrier cannot be a parameter");
  }
  Instr& i = l.emit({.op = Op::mbarrier, .from = at.wide ? Type::u64 : Type::u32,
                     .select = static_cast<std::uint8_t>(op), .space = space});
  i.a = at.slot;
  i.imm = at.offset;
  i.e = static_cast<std::uint32_t>(op);
  return i;
}

void barrier(Lowering& l) {
  if (l.mods.take("pending_count")) {
    pending_count(l);
    return;
  }
  const Parts parts = take_parts(l);
  l.mods.take_one_of({"release", "acquire", "relaxed"});
  l.mods.take_hints();
  const Space space = take_space(l);
  l.mods.take("b64");
  const std::size_t least = parts.address + 1 + (parts.state || parts.op == BarrierOp::init);
  l.expect_operands(least, least + (parts.count && parts.op != BarrierOp::init ? 1 : 0));
  const Lowering::Address at = l.address(l.operand(parts.address), space);
  const std::size_t next = parts.address + 1;
  std::uint32_t count = kNoSlot;
  std::uint32_t state = kNoSlot;
  if (parts.state) {
    state = l.source(next, parts.op == BarrierOp::test_parity ? Type::u32 : Type::b64);
  } else if (l.has_operand(next)) {
    count = l.source(next, Type::u32);
  }
  std::uint32_t d = kNoSlot;
  if (parts.state) {
    d = l.predicate_target(l.operand(0));
  } else if (parts.address == 1) {
    d = l.target(0, Type::b64);
  }
  l.mark_observing();
  Instr& i = emit_at(l, parts.op, at, space);
  i.b = state;
  i.c = count;
  i.d = d;
}

// Copies are complete already. Without .noinc the arrival is one that was not expected before, so
// that nothing changes.
void copy_arrive(Lowering& l) {
  l.mods.take("mbarrier");
  l.mods.take("arrive");
  const bool counted = l.mods.take("noinc");
  const Space space = take_space(l);
  l.mods.take("b64");
  l.expect_operands(1, 1);
  const Lowering::Address at = l.address(l.operand(0), space);
  l.mark_observing();
  if (counted) {
    emit_at(l, BarrierOp::copy_arrive, at, space);
  } else {
    l.emit({.op = Op::nop});
  }
}

}  // namespace

bool lower_mbarrier(Lowering& l) {
  if (l.base() == "mbarrier") {
    barrier(l);
    return true;
  }
  const auto& modifiers = l.form().modifiers;
  if (l.base() == "cp" && modifiers.size() > 1 && modifiers[0] == "async" &&
      modifiers[1] == "mbarrier") {
    l.mods.take("async");
    copy_arrive(l);
    return true;
  }
  return false;
}

}  // namespace phos::sim::ptx
