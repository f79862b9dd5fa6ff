// SPDX-License-Identifier: Apache-2.0
// atom and red.
#include <array>

#include "lowering.h"

namespace phos::sim::ptx {
namespace {

using text::OperandKind;

struct Atomic {
  AtomOp op = AtomOp::add;
  Type type = Type::none;
  Space space = Space::generic;
  std::uint8_t width = 1;
  bool hint = false;
};

Atomic take_atomic(Lowering& l) {
  Atomic a;
  l.mods.take_one_of({"relaxed", "acquire", "release", "acq_rel"});
  if (l.mods.take("global")) a.space = Space::global;
  else if (l.mods.take("shared") || l.mods.take("shared::cta") ||
           l.mods.take("shared::cluster")) a.space = Space::shared;
  l.mods.take_hints();
  a.hint = l.mods.take("L2::cache_hint");
  const int op = l.mods.take_one_of({"add", "min", "max", "inc", "dec", "exch", "cas", "and",
                                     "or", "xor"});
  if (op < 0) {
    l.refuse("an atomic operation is expected");
  }
  a.op = static_cast<AtomOp>(op);
  l.mods.take("noftz");
  const int width = l.mods.take_one_of({"v2", "v4", "v8"});
  a.width = static_cast<std::uint8_t>(width < 0 ? 1 : 2 << width);
  a.type = l.mods.take_type();
  return a;
}

// Which types an operation exists for.
void check(Lowering& l, const Atomic& a) {
  const bool real = is_float(a.type) || a.type == Type::f16x2 || a.type == Type::bf16x2;
  const bool narrow_bits = a.type == Type::b16 || a.type == Type::b128;
  bool ok = bytes_of(a.type) != 0;
  switch (a.op) {
    case AtomOp::add: ok = real || is_integer(a.type); break;
    case AtomOp::min:
    case AtomOp::max:
      ok = is_integer(a.type) || (a.width > 1 && real && a.type != Type::f32 &&
                                  a.type != Type::f64);
      break;
    case AtomOp::inc:
    case AtomOp::dec: ok = a.type == Type::u32; break;
    case AtomOp::exch:
    case AtomOp::cas: ok = is_bits(a.type) || is_integer(a.type) || a.type == Type::f32; break;
    default: ok = (is_bits(a.type) && !narrow_bits) || is_integer(a.type); break;
  }
  if (!ok || (bytes_of(a.type) < 4 && !real && a.op != AtomOp::cas && a.op != AtomOp::exch)) {
    l.refuse("this operation does not exist for this type");
  }
}

std::uint32_t vector_places(Lowering& l, const Atomic& a, const text::Operand* result,
                            const text::Operand& value) {
  std::array<std::uint32_t, 16> slots{};
  if (value.kind != OperandKind::vector || value.elements.size() != a.width) {
    l.refuse("the number of elements differs from the vector's width");
  }
  for (std::size_t k = 0; k < a.width; ++k) {
    slots[k] = result == nullptr || result->kind == OperandKind::sink
                   ? kNoSlot : l.target(result->elements.at(k), a.type);
    slots[a.width + k] = l.source(value.elements[k], a.type);
  }
  return l.extra({slots.data(), std::size_t{2} * a.width});
}

void atomic(Lowering& l, bool returns) {
  const Atomic a = take_atomic(l);
  check(l, a);
  const std::size_t first = returns ? 1 : 0;
  const std::size_t count = first + (a.op == AtomOp::cas ? 3 : 2) + (a.hint ? 1 : 0);
  l.expect_operands(count, count);
  if (!returns && (a.op == AtomOp::exch || a.op == AtomOp::cas)) {
    l.refuse("red has no such operation");
  }
  l.mark_observing();
  const Lowering::Address at = l.address(l.operand(first), a.space);
  if (at.slot == kNoSlot) {
    l.refuse("atomics on parameters do not exist");
  }
  Key key{.op = Op::atom, .type = a.type,
          .from = at.wide ? Type::u64 : Type::u32,
          .select = static_cast<std::uint8_t>(a.op), .width = a.width, .space = a.space};
  std::uint32_t places = 0;
  std::uint32_t b = kNoSlot;
  std::uint32_t c = kNoSlot;
  std::uint32_t d = kNoSlot;
  if (a.width > 1) {
    places = vector_places(l, a, returns ? &l.operand(0) : nullptr, l.operand(first + 1));
  } else {
    b = l.source(first + 1, a.type);
    c = a.op == AtomOp::cas ? l.source(first + 2, a.type) : kNoSlot;
    d = returns ? l.target(0, a.type) : kNoSlot;
  }
  Instr& i = l.emit(key);
  i.d = d;
  i.a = at.slot;
  i.b = b;
  i.c = c;
  i.imm = at.offset;
  i.target = static_cast<std::uint32_t>(a.op) | (places << 8);
}

}  // namespace

bool lower_atomic(Lowering& l) {
  if (l.base() == "atom") atomic(l, true);
  else if (l.base() == "red" && !l.mods.take("async")) atomic(l, false);
  else return false;
  return true;
}

}  // namespace phos::sim::ptx
