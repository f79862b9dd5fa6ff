// SPDX-License-Identifier: Apache-2.0
// cp.async: the copy is done at once, so that groups are complete as soon as they are committed.
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

void copy(Lowering& l) {
  l.mods.take_one_of({"ca", "cg"});
  if (!l.mods.take("shared")) {
    l.mods.take_one_of({"shared::cta", "shared::cluster"});
  }
  if (!l.mods.take("global")) {
    l.refuse("a copy from global memory is expected");
  }
  const bool hint = l.mods.take("L2::cache_hint");
  l.mods.take_hints();
  l.expect_operands(3, hint ? 5 : 4);
  const Lowering::Address to = l.address(l.operand(0), Space::shared);
  const Lowering::Address from = l.address(l.operand(1), Space::global);
  const std::int64_t bytes = l.is_immediate(l.operand(2)) ? l.operand(2).value : 0;
  if (bytes != 4 && bytes != 8 && bytes != 16) {
    l.refuse("4, 8 or 16 bytes can be copied");
  }
  std::uint32_t count = kNoSlot;
  bool skip = false;
  bool negated = false;
  std::uint32_t ignore = kNoSlot;
  if (l.operand_count() > (hint ? 4U : 3U)) {
    const text::Operand& fourth = l.operand(3);
    skip = l.register_type(fourth) == Type::pred;
    if (skip) {
      ignore = l.predicate_source(fourth, negated);
    } else {
      count = l.source(fourth, Type::u32);
    }
  }
  if (skip) {  // ignore-src: the source counts as zeros
    const std::uint32_t none = l.constant(Type::u32, 0);
    const std::uint32_t all = l.constant(Type::u32, static_cast<std::uint64_t>(bytes));
    count = l.temporary(4);
    Instr& select = l.emit({.op = Op::selp, .type = Type::b32});
    select.d = count;
    select.a = none;
    select.b = all;
    select.c = ignore;
    select.flags = static_cast<std::uint8_t>(select.flags | (negated ? kNegateC : 0));
  }
  Instr& i = l.emit({.op = Op::cp_async, .from = to.wide ? Type::u64 : Type::u32});
  i.a = to.slot;
  i.b = from.slot;
  i.c = count;
  i.imm = to.offset;
  i.e = static_cast<std::uint32_t>(static_cast<std::int32_t>(from.offset));
  i.target = static_cast<std::uint32_t>(bytes);
}

}  // namespace

bool lower_async(Lowering& l) {
  if (l.base() != "cp" || !l.mods.take("async")) {
    return false;
  }
  for (const std::string_view modifier : l.form().modifiers) {
    if (modifier == "bulk" || modifier == "mbarrier" || modifier == "reduce") {
      return false;
    }
  }
  if (l.mods.take("commit_group") || l.mods.take("wait_all")) {
    l.expect_operands(0, 0);
    l.emit({.op = Op::nop});
  } else if (l.mods.take("wait_group")) {
    l.expect_operands(1, 1);
    l.emit({.op = Op::nop});
  } else {
    copy(l);
  }
  return true;
}

}  // namespace phos::sim::ptx
