// SPDX-License-Identifier: Apache-2.0
// Branches, returns, traps and barriers of the block.
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

void branch(Lowering& l) {
  l.mods.take("uni");
  l.expect_operands(1, 1);
  const std::uint32_t label = l.label(l.operand(0));
  l.emit_kind(Kind::branch).target = label;
}

void indexed_branch(Lowering& l) {
  l.mods.take("idx");
  l.mods.take("uni");
  l.expect_operands(2, 2);
  const std::uint32_t a = l.source(0, Type::u32);
  const auto list = l.function().branch_targets.find(l.operand(1).name);
  if (list == l.function().branch_targets.end()) {
    l.refuse("'" + std::string(l.operand(1).name) + "' is not a list of branch targets");
  }
  std::vector<std::uint32_t> targets;
  for (const std::string_view name : list->second) {
    const std::uint32_t index = l.function().find_label(name, l.scope());
    if (index == text::kNone) {
      l.refuse("label '" + std::string(name) + "' is not defined");
    }
    targets.push_back(index);
  }
  const std::uint32_t first = l.extra(targets);
  Instr& i = l.emit_kind(Kind::branch_indexed);
  i.a = a;
  i.target = first;
  i.imm = static_cast<std::int64_t>(targets.size());
}

// target: 0 sync, 1 arrive, 2 red.popc, 3 red.and, 4 red.or.
void barrier(Lowering& l) {
  l.mods.take("cta");
  const int kind = l.mods.take_one_of({"sync", "arrive", "red"});
  const int reduce = kind == 2 ? l.mods.take_one_of({"popc", "and", "or"}) : -1;
  l.mods.take("aligned");
  const Type type = kind == 2 ? l.mods.take_type() : Type::none;
  if (kind < 0 || (kind == 2 && (reduce < 0 ||
                                 type != (reduce == 0 ? Type::u32 : Type::pred)))) {
    l.refuse("a barrier of the block is expected");
  }
  const std::size_t first = kind == 2 ? 1 : 0;
  const std::size_t last = kind == 2 ? 1 : 0;
  l.expect_operands(first + last + (kind == 1 ? 2 : 1), first + last + 2);
  const std::uint32_t id = l.source(first, Type::u32);
  const bool counted = l.operand_count() == first + last + 2;
  const std::uint32_t count = counted ? l.source(first + 1, Type::u32) : kNoSlot;
  bool negated = false;
  const std::uint32_t c =
      kind == 2 ? l.predicate_source(l.operand(l.operand_count() - 1), negated) : kNoSlot;
  const std::uint32_t d = kind != 2 ? kNoSlot
                          : reduce == 0 ? l.target(0, Type::u32)
                                        : l.predicate_target(l.operand(0));
  Instr& i = l.emit_kind(Kind::barrier);
  i.d = d;
  i.a = id;
  i.b = count;
  i.c = c;
  i.target = static_cast<std::uint32_t>(kind == 2 ? 2 + reduce : kind);
  i.flags = static_cast<std::uint8_t>(i.flags | (negated ? kNegateC : 0));
}

}  // namespace

bool lower_control(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "bra") branch(l);
  else if (base == "brx") indexed_branch(l);
  else if (base == "ret") {
    l.mods.take("uni");
    l.expect_operands(0, 0);
    l.emit_kind(l.function().entry ? Kind::exit : Kind::ret);
  } else if (base == "exit") {
    l.expect_operands(0, 0);
    l.emit_kind(Kind::exit);
  } else if (base == "trap") {
    l.emit_kind(Kind::trap);
  } else if (base == "brkpt") {
    l.emit_kind(Kind::brkpt);
  } else if ((base == "bar" || base == "barrier") && !l.form().modifiers.empty() &&
             l.form().modifiers[0] != "cluster" && l.form().modifiers[0] != "warp") {
    barrier(l);
  } else {
    return false;
  }
  return true;
}

}  // namespace phos::sim::ptx
