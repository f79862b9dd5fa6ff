// SPDX-License-Identifier: Apache-2.0
// ld, st, prefetches and fences.
#include <array>

#include "../../memory/address_space.h"
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

using text::OperandKind;

struct Shape {
  Space space = Space::generic;
  Type type = Type::none;
  std::uint8_t width = 1;
  bool hint = false;  // a cache policy is the last operand
};

Space take_space(Lowering& l) {
  constexpr std::pair<std::string_view, Space> kSpaces[] = {
      {"global", Space::global},       {"const", Space::constant},
      {"shared", Space::shared},       {"shared::cta", Space::shared},
      {"shared::cluster", Space::shared}, {"local", Space::local},
      {"param", Space::param},         {"param::entry", Space::param},
      {"param::func", Space::param},
  };
  for (const auto& [name, space] : kSpaces) {
    if (l.mods.take(name)) {
      return space;
    }
  }
  return Space::generic;
}

Shape take_shape(Lowering& l) {
  Shape shape;
  if (l.mods.take_one_of({"mmio", "volatile", "relaxed", "acquire", "release"}) >= 0) {
    l.mark_observing();
    l.mods.take_one_of({"relaxed"});  // ld.mmio.relaxed
  }
  shape.space = take_space(l);
  l.mods.take_hints();
  l.mods.take("unified");
  shape.hint = l.mods.take("L2::cache_hint");
  const int width = l.mods.take_one_of({"v2", "v4", "v8"});
  shape.width = static_cast<std::uint8_t>(width < 0 ? 1 : 2 << width);
  shape.type = l.mods.take_type();
  if (bytes_of(shape.type) == 0) {
    l.refuse("a type is expected");
  }
  return shape;
}

// The registers of a value or vector, all of one size, which may exceed that in memory.
struct Registers {
  std::array<std::uint32_t, 8> slots{};
  Type type = Type::none;
};

Registers registers_of(Lowering& l, const text::Operand& value, const Shape& shape, bool loads) {
  Registers result;
  const text::Operand* elements = &value;
  std::size_t count = 1;
  if (value.kind == OperandKind::vector) {
    elements = value.elements.data();
    count = value.elements.size();
  }
  if (count != shape.width) {
    l.refuse("the number of elements differs from the vector's width");
  }
  std::uint32_t bytes = bytes_of(shape.type);
  for (std::size_t k = 0; k < count; ++k) {
    const Type own = l.register_type(elements[k]);
    if (own == Type::pred) {
      l.refuse("predicates cannot be in memory");
    }
    bytes = own != Type::none && bytes_of(own) > bytes ? bytes_of(own) : bytes;
  }
  result.type = bytes == bytes_of(shape.type) ? shape.type : unsigned_of(bytes);
  for (std::size_t k = 0; k < count; ++k) {
    result.slots[k] = loads ? l.target(elements[k], result.type)
                            : elements[k].kind == OperandKind::sink
                                  ? kNoSlot : l.source(elements[k], result.type);
  }
  if (count == 1 && result.slots[0] == kNoSlot) {
    if (!loads) {
      l.refuse("a value is expected");
    }
    result.slots[0] = l.temporary(bytes);  // a load into nothing still reads
  }
  return result;
}

void fill(Lowering& l, const Shape& shape, const Registers& registers, Instr& i, bool wide) {
  i.d = registers.slots[0];
  AccessSpec spec;
  spec.bytes = static_cast<std::uint8_t>(bytes_of(shape.type));
  spec.lane_bytes = static_cast<std::uint8_t>(bytes_of(registers.type));
  spec.count = shape.width;
  spec.space = shape.space;
  spec.sign_extend = is_signed(shape.type);
  spec.wide_address = wide;
  i.e = spec.packed();
  if (shape.width > 1) {
    i.target = l.extra({registers.slots.data(), shape.width});
  }
}

void check_bounds(Lowering& l, const text::Variable& variable, std::int64_t offset,
                  const Shape& shape) {
  const std::uint64_t bytes = std::uint64_t{bytes_of(shape.type)} * shape.width;
  if (offset < 0 || static_cast<std::uint64_t>(offset) + bytes > variable.bytes) {
    l.refuse("the access leaves parameter '" + std::string(variable.name) + "'");
  }
  if (static_cast<std::uint64_t>(offset) % bytes_of(shape.type) != 0) {
    l.refuse("the offset is not aligned");
  }
}

// A .param variable of a device function, or of a call: a place in the frame, or local memory.
void access_place(Lowering& l, const Shape& shape, const Registers& registers,
                  const Lowering::Address& at, bool loads) {
  const ParamPlace place = l.place_of(*at.parameter);
  check_bounds(l, *at.parameter, at.offset, shape);
  Key key{.op = loads ? Op::ld : Op::st, .type = shape.type, .from = registers.type,
          .width = shape.width};
  if (place.local) {
    key.space = Space::local;
    Shape local = shape;
    local.space = Space::local;
    const std::uint32_t base = l.symbol_slot(
        [&] {
          text::Operand symbol;
          symbol.kind = OperandKind::symbol;
          symbol.name = at.parameter->name;
          return symbol;
        }(), Type::u32);
    Instr& i = l.emit(key);
    fill(l, local, registers, i, false);
    i.a = base;
    i.imm = at.offset;
    return;
  }
  key.space = Space::reg;
  Shape slot = shape;
  slot.space = Space::reg;
  Instr& i = l.emit(key);
  fill(l, slot, registers, i, false);
  i.a = place.slot;
  i.b = place.bytes;
  i.imm = at.offset;
}

void access(Lowering& l, bool loads) {
  const Shape shape = take_shape(l);
  const std::size_t extra = shape.hint ? 1 : 0;
  l.expect_operands(2 + extra, 2 + extra);
  const Lowering::Address at = l.address(l.operand(loads ? 1 : 0), shape.space);
  const Registers registers = registers_of(l, l.operand(loads ? 0 : 1), shape, loads);
  Key key{.op = loads ? Op::ld : Op::st, .type = shape.type, .from = registers.type,
          .width = shape.width, .space = shape.space};
  if (at.parameter != nullptr) {
    if (!l.is_kernel_parameter(*at.parameter)) {
      access_place(l, shape, registers, at, loads);
      return;
    }
    if (!loads) {
      l.refuse("parameters of a kernel cannot be written");
    }
    check_bounds(l, *at.parameter, at.offset, shape);
    key.op = Op::ld_param;
    Instr& i = l.emit(key);
    fill(l, shape, registers, i, true);
    i.imm = at.offset + l.kernel_parameter_offset(*at.parameter);
    return;
  }
  if (!loads && shape.space == Space::constant) {
    l.refuse("constant memory cannot be written");
  }
  if (!loads && shape.space == Space::param) {
    l.refuse("a parameter is written by its name only");
  }
  const bool narrow_space = shape.space == Space::shared || shape.space == Space::local ||
                            shape.space == Space::param;
  key.select = narrow_space && at.wide ? 1 : 0;
  Instr& i = l.emit(key);
  fill(l, shape, registers, i, at.wide);
  i.a = at.slot;
  i.imm = at.offset;
}

void nothing(Lowering& l, std::initializer_list<std::string_view> words) {
  for (const std::string_view word : words) {
    l.mods.take(word);
  }
  l.mods.take_hints();
  l.mods.take_type();
  l.emit({.op = Op::nop});
}

void fence(Lowering& l) {
  for (const std::string_view word :
       {"sc", "acq_rel", "acquire", "release", "cta", "cluster", "gpu", "sys", "gl", "proxy",
        "alias", "async", "async::generic", "global", "shared::cta", "shared::cluster",
        "sync_restrict::shared::cta", "sync_restrict::shared::cluster", "mbarrier_init"}) {
    l.mods.take(word);
  }
  l.mark_observing();
  l.emit({.op = Op::fence});
}

}  // namespace

bool lower_memory(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "ld" || base == "ldu") access(l, true);
  else if (base == "st") access(l, false);
  else if (base == "membar" || base == "fence") fence(l);
  else if (base == "prefetch" || base == "prefetchu" || base == "applypriority" ||
           base == "discard") {
    nothing(l, {"global", "local", "L1", "L2", "L2::evict_last", "L2::evict_normal", "tensormap",
                "const", "param"});
  } else {
    return false;
  }
  return true;
}

}  // namespace phos::sim::ptx
