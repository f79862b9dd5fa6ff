// SPDX-License-Identifier: Apache-2.0
// Matrix instructions: fragments are gathered from all lanes, multiplied plainly, and spread again.
// mma has the layout of fragments that PTX documents. That of wmma is left open by PTX; here
// element e of lane l is element l * count + e of the matrix, row by row, over again where the
// fragments hold more than the matrix.
//
// Sums of half precision are formed in double and rounded once to the result, which is more exact
// than hardware, whose order and width of accumulation are not documented.
#include "matrix.h"

#include "../../memory/address_space.h"
#include "exact.h"
#include "float.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

u32 element_bits(Type type) {
  switch (type) {
    case Type::b1: return 1;
    case Type::u4:
    case Type::s4: return 4;
    case Type::tf32: return 32;
    default: return 8 * bytes_of(type);
  }
}

double decode(u64 bits, Type type) {
  switch (type) {
    case Type::f16: return F16::widen(static_cast<u16>(bits));
    case Type::bf16: return Bf16::widen(static_cast<u16>(bits));
    case Type::tf32: return bits_as<float>(static_cast<u32>(bits) & 0xffffe000U);
    case Type::f32: return bits_as<float>(static_cast<u32>(bits));
    case Type::f64: return bits_as<double>(bits);
    case Type::e4m3:
    case Type::e5m2: {
      const Exact x = take_apart(bits, type == Type::e4m3 ? kE4m3 : kE5m2);
      return bits_as<double>(put_together(x, kF64, Rounding::rn, false));
    }
    case Type::s8: return static_cast<s8>(bits);
    case Type::s4: return static_cast<s8>(static_cast<u8>(bits << 4)) >> 4;
    case Type::s32: return static_cast<s32>(static_cast<u32>(bits));
    default: return static_cast<double>(bits);  // u8, u4, b1
  }
}

u64 encode(double value, Type type, bool saturate) {
  switch (type) {
    case Type::f16: return F16::round(narrow_odd(value));
    case Type::f32: return bits_as<u32>(canonical(static_cast<float>(value)));
    case Type::f64: return bits_as<u64>(canonical(value));
    default: {  // s32: sums stay far below 2^53, so they are exact
      const auto whole = static_cast<s64>(value);
      return saturate ? static_cast<u32>(whole > INT32_MAX ? INT32_MAX
                                         : whole < INT32_MIN ? INT32_MIN : whole)
                      : static_cast<u32>(whole);
    }
  }
}

// A fragment's registers; element e of a lane lies in register e / per, at bit e % per * bits.
struct Fragment {
  Warp& w;
  const u32* slots;
  u32 count;
  Type type;
  u32 bits() const { return element_bits(type); }
  u32 word_bytes() const { return bits() == 64 ? 8 : 4; }
  u32 per_register() const { return 8 * word_bytes() / bits(); }
  u32 elements() const { return count * per_register(); }

  u64 load(u32 lane, u32 e) const {
    u64 word = 0;
    std::memcpy(&word, slot<std::byte>(w, slots[e / per_register()]) + lane * word_bytes(),
                word_bytes());
    const u64 field = bits() == 64 ? ~u64{0} : (u64{1} << bits()) - 1;
    return (word >> (e % per_register() * bits())) & field;
  }
  void store(u32 lane, u32 e, u64 value) const {
    if (slots[e / per_register()] == kNoSlot) {
      return;
    }
    std::byte* at = slot<std::byte>(w, slots[e / per_register()]) + lane * word_bytes();
    u64 word = 0;
    std::memcpy(&word, at, word_bytes());
    const u32 shift = e % per_register() * bits();
    const u64 field = bits() == 64 ? ~u64{0} : ((u64{1} << bits()) - 1) << shift;
    word = (word & ~field) | ((value << shift) & field);
    std::memcpy(at, &word, word_bytes());
  }
};

struct Place {
  u32 row, column;
};

// Layouts of mma.sync: lane = 4 * group + member.
Place place_a(const MmaSpec& s, const Fragment& f, u32 lane, u32 e) {
  const u32 per = f.per_register();
  const u32 reg = e / per;
  const u32 part = s.m == 16 ? reg / 2 : reg;
  return {lane / 4 + (s.m == 16 && reg % 2 == 1 ? 8 : 0),
          part * 4 * per + lane % 4 * per + e % per};
}
Place place_b(const MmaSpec&, const Fragment& f, u32 lane, u32 e) {
  const u32 per = f.per_register();
  return {e / per * 4 * per + lane % 4 * per + e % per, lane / 4};
}
Place place_c(const MmaSpec&, const Fragment&, u32 lane, u32 e) {
  return {lane / 4 + e / 2 * 8, lane % 4 * 2 + e % 2};
}
Place place_linear(u32 rows, u32 columns, const Fragment& f, u32 lane, u32 e) {
  const u32 at = (lane * f.elements() + e) % (rows * columns);
  return {at / columns, at % columns};
}

constexpr u32 kMaxElements = 16 * 256;

void mma(Warp& w, const Instr& i, u32) {
  const u32* words = w.current->function->extra.data() + i.target;
  MmaSpec s;
  std::memcpy(&s, words, sizeof s);
  const u32* slots = words + kMmaWords;
  const Fragment a{w, slots, s.a_count, static_cast<Type>(s.a_type)};
  const Fragment b{w, a.slots + s.a_count, s.b_count, static_cast<Type>(s.b_type)};
  const Fragment c{w, b.slots + s.b_count, s.c_count, static_cast<Type>(s.c_type)};
  const Fragment d{w, c.slots + s.c_count, s.d_count, static_cast<Type>(s.d_type)};
  thread_local double left[kMaxElements];
  thread_local double right[kMaxElements];
  thread_local double sum[32 * 32];
  const auto visit = [&](const Fragment& f, auto place, u32 rows, u32 columns, auto use) {
    for (u32 lane = 0; lane < kLanes; ++lane) {
      for (u32 e = 0; e < f.elements(); ++e) {
        const Place at = s.is_wmma != 0 ? place_linear(rows, columns, f, lane, e)
                                        : place(s, f, lane, e);
        use(at, lane, e);
      }
    }
  };
  visit(a, place_a, s.m, s.k, [&](Place at, u32 lane, u32 e) {
    left[at.row * s.k + at.column] = decode(a.load(lane, e), a.type);
  });
  visit(b, place_b, s.k, s.n, [&](Place at, u32 lane, u32 e) {
    right[at.column * s.k + at.row] = decode(b.load(lane, e), b.type);
  });
  visit(c, place_c, s.m, s.n, [&](Place at, u32 lane, u32 e) {
    sum[at.row * s.n + at.column] = decode(c.load(lane, e), c.type);
  });
  for (u32 row = 0; row < s.m; ++row) {
    for (u32 column = 0; column < s.n; ++column) {
      double& total = sum[row * s.n + column];
      for (u32 k = 0; k < s.k; ++k) {
        const double x = left[row * s.k + k];
        const double y = right[column * s.k + k];
        if (a.type == Type::b1) {
          total += (s.bit_and != 0 ? x != 0 && y != 0 : x != y) ? 1 : 0;
        } else {
          total = a.type == Type::f64 ? __builtin_fma(x, y, total) : total + x * y;
        }
      }
    }
  }
  visit(d, place_c, s.m, s.n, [&](Place at, u32 lane, u32 e) {
    d.store(lane, e, encode(sum[at.row * s.n + at.column], d.type, s.saturate != 0));
  });
}

template <bool Store>
void tile(Warp& w, const Instr& i, u32 mask) {
  const u32* words = w.current->function->extra.data() + i.target;
  TileSpec s;
  std::memcpy(&s, words, sizeof s);
  const Fragment f{w, words + kTileWords, s.count, static_cast<Type>(s.type)};
  const u32* strides = slot<u32>(w, s.stride_slot);
  each_active(mask, [&](u32 lane) {
    const u64 base = (s.wide_address != 0 ? slot<u64>(w, i.a)[lane]
                                          : u64{slot<u32>(w, i.a)[lane]}) +
                     static_cast<u64>(i.imm);
    for (u32 e = 0; e < f.elements(); ++e) {
      const Place at = place_linear(s.rows, s.columns, f, lane, e);
      const u64 index = s.row_major != 0 ? u64{at.row} * strides[lane] + at.column
                                         : u64{at.column} * strides[lane] + at.row;
      const u64 bit = index * f.bits();
      const u32 bytes = f.bits() < 8 ? 1 : f.bits() / 8;
      const u64 address = base + bit / 8;
      std::byte* host = static_cast<Space>(s.space) == Space::shared
          ? reach_shared(w, i, lane, address, bytes, bytes)
          : reach(w, i, lane, address, bytes, bytes, Store ? Access::store : Access::load);
      u64 value = 0;
      if (Store) {
        value = f.load(lane, e);
        std::memcpy(host, &value, bytes);
      } else {
        std::memcpy(&value, host, bytes);
        f.store(lane, e, f.bits() < 8 ? value >> (bit % 8) : value);
      }
    }
  });
}

// Lane 8 * j + r has the address of row r of matrix j. b: number of matrices, c: transposed;
// both are plain numbers here, not slots.
template <bool Store>
void small_matrices(Warp& w, const Instr& i, u32 mask) {
  const u32* slots = w.current->function->extra.data() + i.target;
  const bool wide = (i.flags & kWideA) != 0;
  u16 rows[4][8][8] = {};
  const auto row_at = [&](u32 lane) {
    const u64 address = wide ? slot<u64>(w, i.a)[lane] + static_cast<u64>(i.imm)
                             : static_cast<u32>(slot<u32>(w, i.a)[lane] +
                                                static_cast<u64>(i.imm));
    return address - kSharedWindow < kSpecialWindowBytes
               ? reach_shared(w, i, lane, address - kSharedWindow, 16, 16)
               : reach_shared(w, i, lane, address, 16, 16);
  };
  const auto swap = [&](auto use) {
    for (u32 matrix = 0; matrix < i.b; ++matrix) {
      each_active(mask, [&](u32 lane) {
        for (u32 half = 0; half < 2; ++half) {
          const u32 row = lane / 4;
          const u32 column = lane % 4 * 2 + half;
          use(i.c != 0 ? rows[matrix][column][row] : rows[matrix][row][column],
              slot<u16>(w, slots[matrix])[2 * lane + half]);
        }
      });
    }
  };
  if (Store) {
    swap([](u16& element, u16& part) { element = part; });
  }
  for (u32 matrix = 0; matrix < i.b; ++matrix) {
    for (u32 row = 0; row < 8; ++row) {
      std::byte* host = row_at(8 * matrix + row);
      if (Store) {
        std::memcpy(host, rows[matrix][row], 16);
      } else {
        std::memcpy(rows[matrix][row], host, 16);
      }
    }
  }
  if (!Store) {
    swap([](u16& element, u16& part) { part = element; });
  }
}

void movmatrix(Warp& w, const Instr& i, u32 mask) {
  u16 rows[8][8];
  const u16* a = slot<u16>(w, i.a);
  u16* d = slot<u16>(w, i.d);
  for (u32 at = 0; at < 64; ++at) {
    rows[at / 8][at % 8] = a[at];
  }
  each_active(mask, [&](u32 lane) {
    for (u32 half = 0; half < 2; ++half) {
      d[2 * lane + half] = rows[lane % 4 * 2 + half][lane / 4];
    }
  });
}

}  // namespace

Handler find_matrix(const Key& key) {
  switch (key.op) {
    case Op::mma: return mma;
    case Op::wmma_load: return tile<false>;
    case Op::wmma_store: return tile<true>;
    case Op::ldmatrix: return small_matrices<false>;
    case Op::stmatrix: return small_matrices<true>;
    case Op::movmatrix: return movmatrix;
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
