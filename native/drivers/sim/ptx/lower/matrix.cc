// SPDX-License-Identifier: Apache-2.0
// mma, wmma, ldmatrix, stmatrix and movmatrix.
#include <array>
#include <charconv>
#include <cstring>

#include "../handlers/matrix.h"
#include "lowering.h"

namespace phos::sim::ptx {
namespace {

using text::OperandKind;

struct Dimensions {
  std::uint32_t m = 0, n = 0, k = 0;
};

Dimensions take_shape(Lowering& l) {
  for (const std::string_view modifier : l.form().modifiers) {
    Dimensions d;
    const std::size_t n = modifier.find('n');
    const std::size_t k = modifier.find('k');
    if (modifier[0] != 'm' || n == std::string_view::npos || k == std::string_view::npos) {
      continue;
    }
    const char* start = modifier.data();
    std::from_chars(start + 1, start + n, d.m);
    std::from_chars(start + n + 1, start + k, d.n);
    std::from_chars(start + k + 1, start + modifier.size(), d.k);
    if (d.m != 0 && d.n != 0 && d.k != 0 && l.mods.take(modifier)) {
      return d;
    }
  }
  l.refuse("a shape such as m16n8k16 is expected");
}

std::uint32_t bits_of(Type type) {
  return type == Type::b1 ? 1 : type == Type::u4 || type == Type::s4 ? 4 : 8 * bytes_of(type);
}

std::uint32_t registers_for(std::uint32_t elements, Type type) {
  const std::uint32_t word = bits_of(type) == 64 ? 64 : 32;
  return elements / kLanes * bits_of(type) / word;
}

Type word_of(Type type) { return bits_of(type) == 64 ? Type::b64 : Type::b32; }

// Slots of a fragment's registers, appended to the words.
std::uint32_t add_fragment(Lowering& l, const text::Operand& operand, Type type,
                           std::vector<std::uint32_t>& words, bool result) {
  const text::Operand* elements = &operand;
  std::size_t count = 1;
  if (operand.kind == OperandKind::vector) {
    elements = operand.elements.data();
    count = operand.elements.size();
  }
  for (std::size_t i = 0; i < count; ++i) {
    words.push_back(result ? l.target(elements[i], word_of(type))
                           : l.source(elements[i], word_of(type)));
  }
  return static_cast<std::uint32_t>(count);
}

void wait_for_all(Lowering& l, Instr& i, std::uint32_t all) {
  (void)l;
  i.kind = Kind::warp_sync;
  i.e = all;
}

void multiply(Lowering& l, bool wmma) {
  MmaSpec s{};
  s.is_wmma = wmma ? 1 : 0;
  if (!l.mods.take("sync") || !l.mods.take("aligned")) {
    l.refuse(".sync.aligned is expected");
  }
  const Dimensions shape = take_shape(l);
  s.m = shape.m;
  s.n = shape.n;
  s.k = shape.k;
  const int first = l.mods.take_one_of({"row", "col"});
  const int second = l.mods.take_one_of({"row", "col"});
  if (!wmma && (first != 0 || second != 1)) {
    l.refuse("a by rows and b by columns are expected");
  }
  s.saturate = l.mods.take("satfinite") ? 1 : 0;
  const bool nearest = l.mods.take("rn");  // of doubles, which round so anyway
  s.bit_and = l.mods.take("and") ? 1 : 0;
  const bool bits = s.bit_and != 0 || l.mods.take("xor");
  l.mods.take("popc");
  std::array<Type, 4> types{};
  std::size_t count = 0;
  while (count < 4 && (types[count] = l.mods.take_type()) != Type::none) {
    ++count;
  }
  if (count == 2 && wmma) {  // wmma of halves names the results only
    types = {types[0], Type::f16, Type::f16, types[1]};
  } else if (count != 4) {
    l.refuse("the types of d, a, b and c are expected");
  }
  if ((types[1] == Type::b1) != bits || (nearest && types[1] != Type::f64) ||
      (s.m == 8 && s.k == 4 && types[1] == Type::f16)) {
    l.refuse("the device has no such instruction");
  }
  s.d_type = static_cast<std::uint32_t>(types[0]);
  s.a_type = static_cast<std::uint32_t>(types[1]);
  s.b_type = static_cast<std::uint32_t>(types[2]);
  s.c_type = static_cast<std::uint32_t>(types[3]);
  const auto result_ok = [](Type t) {
    return t == Type::f16 || t == Type::f32 || t == Type::f64 || t == Type::s32;
  };
  if (!result_ok(types[0]) || !result_ok(types[3]) || s.m > 32 || s.n > 32 || s.k > 256) {
    l.refuse("the device has no such instruction");
  }
  l.expect_operands(4, 4);
  std::vector<std::uint32_t> words(kMmaWords);
  s.a_count = add_fragment(l, l.operand(1), types[1], words, false);
  s.b_count = add_fragment(l, l.operand(2), types[2], words, false);
  s.c_count = add_fragment(l, l.operand(3), types[3], words, false);
  s.d_count = add_fragment(l, l.operand(0), types[0], words, true);
  const bool exact = s.a_count == registers_for(s.m * s.k, types[1]) &&
                     s.b_count == registers_for(s.k * s.n, types[2]);
  if ((!wmma && !exact) || s.c_count != registers_for(s.m * s.n, types[3]) ||
      s.d_count != registers_for(s.m * s.n, types[0])) {
    l.refuse("a fragment has the wrong number of registers");
  }
  std::memcpy(words.data(), &s, sizeof s);
  const std::uint32_t all = l.constant(Type::b32, 0xffffffff);
  const std::uint32_t target = l.extra(words);
  Instr& i = l.emit({.op = Op::mma});
  i.target = target;
  wait_for_all(l, i, all);
}

void transfer(Lowering& l, bool loads) {
  const int which = l.mods.take_one_of({"a", "b", "c", "d"});
  if (which < 0 || !l.mods.take("sync") || !l.mods.take("aligned")) {
    l.refuse("a fragment and .sync.aligned are expected");
  }
  const int order = l.mods.take_one_of({"row", "col"});
  const Dimensions shape = take_shape(l);
  TileSpec s{};
  s.rows = which == 1 ? shape.k : shape.m;
  s.columns = which == 0 ? shape.k : shape.n;
  s.row_major = order == 0 ? 1 : 0;
  const int shared = l.mods.take_one_of({"shared", "shared::cta"});
  const Space space = shared >= 0 ? Space::shared : Space::generic;
  l.mods.take("global");
  const Type type = l.mods.take_type();
  s.space = static_cast<std::uint32_t>(space);
  s.type = static_cast<std::uint32_t>(type);
  l.expect_operands(2, 3);
  const Lowering::Address at = l.address(l.operand(loads ? 1 : 0), space);
  s.wide_address = at.wide ? 1 : 0;
  const std::uint32_t usual = s.row_major != 0 ? s.columns : s.rows;
  s.stride_slot = l.has_operand(2) ? l.source(2, Type::u32) : l.constant(Type::u32, usual);
  std::vector<std::uint32_t> words(kTileWords);
  s.count = add_fragment(l, l.operand(loads ? 0 : 1), type, words, loads);
  if (at.slot == kNoSlot || s.rows > 32 || s.columns > 128 || bits_of(type) == 0 ||
      s.count * kLanes * (bits_of(type) == 64 ? 64 : 32) < s.rows * s.columns * bits_of(type) ||
      (!loads && bits_of(type) < 8)) {
    l.refuse("the device has no such instruction");
  }
  std::memcpy(words.data(), &s, sizeof s);
  const std::uint32_t all = l.constant(Type::b32, 0xffffffff);
  const std::uint32_t target = l.extra(words);
  Instr& i = l.emit({.op = loads ? Op::wmma_load : Op::wmma_store});
  i.target = target;
  i.a = at.slot;
  i.imm = at.offset;
  wait_for_all(l, i, all);
}

void small_matrices(Lowering& l, bool loads) {
  const bool ok = l.mods.take("sync") && l.mods.take("aligned") && l.mods.take("m8n8");
  const int count = l.mods.take_one_of({"x1", "x2", "x4"});
  const bool transposed = l.mods.take("trans");
  const int shared = l.mods.take_one_of({"shared", "shared::cta"});
  if (!ok || count < 0 || l.mods.take_type() != Type::b16) {
    l.refuse("the device has no such instruction");
  }
  l.expect_operands(2, 2);
  const Lowering::Address at =
      l.address(l.operand(loads ? 1 : 0), shared >= 0 ? Space::shared : Space::generic);
  std::vector<std::uint32_t> words;
  const std::uint32_t registers =
      add_fragment(l, l.operand(loads ? 0 : 1), Type::b32, words, loads);
  if (registers != 1U << count || at.slot == kNoSlot) {
    l.refuse("the number of registers differs from that of matrices");
  }
  for (std::uint32_t& word : words) {
    word = word == kNoSlot ? l.temporary(4) : word;
  }
  const std::uint32_t all = l.constant(Type::b32, 0xffffffff);
  const std::uint32_t target = l.extra(words);
  Instr& i = l.emit({.op = loads ? Op::ldmatrix : Op::stmatrix});
  i.target = target;
  i.a = at.slot;
  i.b = registers;
  i.c = transposed ? 1 : 0;
  i.imm = at.offset;
  i.flags = static_cast<std::uint8_t>(i.flags | (at.wide ? kWideA : 0));
  wait_for_all(l, i, all);
}

void move_matrix(Lowering& l) {
  if (!l.mods.take("sync") || !l.mods.take("aligned") || !l.mods.take("m8n8") ||
      !l.mods.take("trans") || l.mods.take_type() != Type::b16) {
    l.refuse("the device has no such instruction");
  }
  l.expect_operands(2, 2);
  const std::uint32_t a = l.source(1, Type::b32);
  const std::uint32_t d = l.target(0, Type::b32);
  const std::uint32_t all = l.constant(Type::b32, 0xffffffff);
  Instr& i = l.emit({.op = Op::movmatrix});
  i.a = a;
  i.d = d;
  wait_for_all(l, i, all);
}

}  // namespace

bool lower_matrix(Lowering& l) {
  const std::string_view base = l.base();
  if (base == "mma") multiply(l, false);
  else if (base == "wmma" && l.mods.take("mma")) multiply(l, true);
  else if (base == "wmma" && l.mods.take("load")) transfer(l, true);
  else if (base == "wmma" && l.mods.take("store")) transfer(l, false);
  else if (base == "ldmatrix") small_matrices(l, true);
  else if (base == "stmatrix") small_matrices(l, false);
  else if (base == "movmatrix") move_matrix(l);
  else return false;
  return true;
}

}  // namespace phos::sim::ptx
