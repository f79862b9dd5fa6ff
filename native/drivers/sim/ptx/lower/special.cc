// SPDX-License-Identifier: Apache-2.0
// What fits nowhere else.
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

void allocate_stack(Lowering& l) {
  const Type type = l.mods.take_type();
  l.expect_operands(2, 3);
  const std::int64_t align = l.operand_count() == 3 ? l.operand(2).value : 8;
  if (align <= 0 || align > 4096 || (align & (align - 1)) != 0) {
    l.refuse("the alignment must be a power of two");
  }
  const std::uint32_t a = l.source(1, type);
  const std::uint32_t d = l.target(0, type);
  Instr& i = l.emit({.op = Op::alloca, .type = type});
  i.d = d;
  i.a = a;
  i.imm = align;
}

void sleep(Lowering& l) {
  l.mods.take_type();
  l.expect_operands(1, 1);
  l.source(0, Type::u32);
  l.mark_observing();
  l.emit_kind(Kind::yield);
}

// A policy is a token that only cache hints read.
void create_policy(Lowering& l) {
  for (const std::string_view word :
       {"fractional", "range", "cvt", "L2", "global", "L2::evict_last", "L2::evict_normal",
        "L2::evict_first", "L2::evict_unchanged"}) {
    while (l.mods.take(word)) {  // the primary and the secondary priority
    }
  }
  l.mods.take_type();
  l.expect_operands(1, 4);
  const std::uint32_t zero = l.constant(Type::b64, 0);
  const std::uint32_t d = l.target(0, Type::b64);
  Instr& i = l.emit({.op = Op::mov, .type = Type::b64});
  i.d = d;
  i.a = zero;
}

}  // namespace

bool lower_special(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "alloca") allocate_stack(l);
  else if (base == "nanosleep") sleep(l);
  else if (base == "createpolicy") create_policy(l);
  else if (base == "stacksave" || base == "stackrestore") {
    const bool save = base == "stacksave";
    const Type type = l.mods.take_type();
    l.expect_operands(1, 1);
    const std::uint32_t slot = l.source(0, type);
    Instr& i = l.emit({.op = save ? Op::stacksave : Op::stackrestore, .type = type});
    (save ? i.d : i.a) = slot;
  } else if (base == "pmevent") {
    l.mods.take("mask");
    l.emit({.op = Op::nop});
  } else if (base == "griddepcontrol") {
    l.mods.take_one_of({"launch_dependents", "wait"});
    l.emit({.op = Op::nop});
  } else {
    return false;
  }
  return true;
}

}  // namespace phos::sim::ptx
