// SPDX-License-Identifier: Apache-2.0
// Texture and surface instructions, of texture and surface objects (PTX's unified mode): tex, tld4,
// suld.b, sust.b. Levels of detail are accepted and ignored, since there are no mipmapped arrays.
#include "../run/texture.h"
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

Geometry geometry_of(Lowering& l, unsigned& coordinates) {
  struct Shape {
    std::string_view name;
    Geometry geometry;
    unsigned coordinates;
  };
  static constexpr Shape kShapes[] = {
      {"1d", Geometry::d1, 1},   {"2d", Geometry::d2, 2},   {"3d", Geometry::d3, 3},
      {"a1d", Geometry::a1d, 2}, {"a2d", Geometry::a2d, 3}, {"cube", Geometry::cube, 3},
      {"acube", Geometry::acube, 4},
  };
  for (const Shape& shape : kShapes) {
    if (!l.mods.take(shape.name)) continue;
    coordinates = shape.coordinates;
    return shape.geometry;
  }
  l.refuse("this kind of texture is not supported");
}

struct Parts {
  const text::Operand* address = nullptr;
  const text::Operand* values = nullptr;
};

// Slots of the values, padded to four, then of the coordinates.
void fill(Lowering& l, const Parts& parts, const TextureSpec& spec, unsigned coordinates,
          Type value_type, Type coordinate_type, bool writes) {
  const auto& elements = parts.address->elements;
  if (elements.size() != 2) l.refuse("an object and coordinates are expected");
  const std::uint32_t object = l.source(elements[0], Type::b64);
  std::uint32_t slots[8] = {kNoSlot, kNoSlot, kNoSlot, kNoSlot,
                            kNoSlot, kNoSlot, kNoSlot, kNoSlot};
  const bool single = elements[1].kind != text::OperandKind::vector;
  const std::size_t given = single ? 1 : elements[1].elements.size();
  if (given < coordinates || given > 4) l.refuse("the number of coordinates is wrong");
  const bool layered = spec.geometry == Geometry::a1d || spec.geometry == Geometry::a2d ||
                       spec.geometry == Geometry::acube;
  for (unsigned k = 0; k < coordinates; ++k) {
    const text::Operand& one = single ? elements[1] : elements[1].elements[k];
    slots[4 + k] = l.source(one, layered && k == 0 ? Type::b32 : coordinate_type);
  }
  const bool lone = parts.values->kind != text::OperandKind::vector;
  const std::size_t count = lone ? 1 : parts.values->elements.size();
  if (count != spec.count) l.refuse("the number of values differs from the vector's width");
  for (std::size_t k = 0; k < count; ++k) {
    const text::Operand& one = lone ? *parts.values : parts.values->elements[k];
    if (one.kind == text::OperandKind::sink) continue;
    slots[k] = writes ? l.source(one, value_type) : l.target(one, value_type);
  }
  Instr& i = l.emit({.op = Op::nop});
  i.run = run_texture;
  i.a = object;
  i.target = l.extra({slots, 8});
  i.imm = spec.packed();
}

void sampling(Lowering& l, bool gather) {
  TextureSpec spec;
  spec.op = gather ? TextureOp::gather : TextureOp::sample;
  unsigned extra = 0;
  if (gather) {
    const int component = l.mods.take_one_of({"r", "g", "b", "a"});
    if (component < 0) l.refuse("the component is missing");
    spec.component = static_cast<std::uint8_t>(component);
  } else {
    l.mods.take("base");
    if (l.mods.take("level")) extra = 1;
    else if (l.mods.take("grad")) extra = 2;
  }
  unsigned coordinates = 0;
  spec.geometry = geometry_of(l, coordinates);
  if (gather && spec.geometry != Geometry::d2 && spec.geometry != Geometry::a2d) {
    l.refuse("only two-dimensional textures can be gathered from");
  }
  if (!l.mods.take("v4")) l.refuse("four values are expected");
  const Type value = l.mods.take_type();
  const Type coordinate = l.mods.take_type();
  if (bytes_of(value) != 4 || (coordinate != Type::f32 && coordinate != Type::s32)) {
    l.refuse("values of 32 bits and coordinates of f32 or s32 are expected");
  }
  spec.integer_coordinates = coordinate == Type::s32;
  l.expect_operands(2 + extra, 2 + extra);
  fill(l, {&l.operand(1), &l.operand(0)}, spec, coordinates, value, coordinate, false);
}

void surface(Lowering& l, bool stores) {
  TextureSpec spec;
  spec.op = stores ? TextureOp::store : TextureOp::load;
  if (!l.mods.take("b")) l.refuse("only unformatted access is supported");
  unsigned coordinates = 0;
  spec.geometry = geometry_of(l, coordinates);
  if (spec.geometry == Geometry::cube || spec.geometry == Geometry::acube) {
    l.refuse("surfaces are not cubes");
  }
  l.mods.take_hints();
  const int width = l.mods.take_one_of({"v2", "v4"});
  spec.count = static_cast<std::uint8_t>(width < 0 ? 1 : width == 0 ? 2 : 4);
  const Type value = l.mods.take_type();
  spec.value_bytes = static_cast<std::uint8_t>(bytes_of(value));
  if (spec.value_bytes == 0 || spec.value_bytes > 8 || spec.count * spec.value_bytes > 16) {
    l.refuse("this is no value of a surface");
  }
  const int outside = l.mods.take_one_of({"trap", "clamp", "zero"});
  spec.outside = outside == 1 ? Outside::clamp : outside == 2 ? Outside::zero : Outside::trap;
  l.expect_operands(2, 2);
  // Bytes lie in registers of 16 bits.
  const Type in_register = spec.value_bytes == 1 ? Type::b16 : value;
  spec.lane_bytes = static_cast<std::uint8_t>(bytes_of(in_register));
  const Parts parts = stores ? Parts{&l.operand(0), &l.operand(1)}
                             : Parts{&l.operand(1), &l.operand(0)};
  fill(l, parts, spec, coordinates, in_register, Type::b32, stores);
}

}  // namespace

bool lower_texture(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "tex") sampling(l, false);
  else if (base == "tld4") sampling(l, true);
  else if (base == "suld") surface(l, false);
  else if (base == "sust") surface(l, true);
  else return false;
  return true;
}

}  // namespace phos::sim::ptx
