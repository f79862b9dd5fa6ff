// SPDX-License-Identifier: Apache-2.0
// setp, and the result of set on pairs. Comparisons of floats are ordered unless their name ends
// in u. The common types have a loop for each comparison; others find the relation of the operands
// and look it up among those that the comparison accepts.
#include "float.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

template <class T, Compare C>
inline bool holds(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    const bool unordered = a != a || b != b;
    switch (C) {
      case Compare::eq: return a == b;
      case Compare::ne: return (a < b) || (a > b);
      case Compare::lt: return a < b;
      case Compare::le: return a <= b;
      case Compare::gt: return a > b;
      case Compare::ge: return a >= b;
      case Compare::equ: return unordered || a == b;
      case Compare::neu: return a != b;
      case Compare::ltu: return !(a >= b);
      case Compare::leu: return !(a > b);
      case Compare::gtu: return !(a <= b);
      case Compare::geu: return !(a < b);
      case Compare::num: return !unordered;
      case Compare::nan: return unordered;
    }
    return false;
  } else {
    switch (C) {
      case Compare::eq: return a == b;
      case Compare::ne: return a != b;
      case Compare::lt: return a < b;
      case Compare::le: return a <= b;
      case Compare::gt: return a > b;
      default: return a >= b;
    }
  }
}

// imm: 0 = as it is, 1 = and, 2 = or, 3 = xor with predicate c.
inline u32 combine(Warp& w, const Instr& i, u32 result) {
  if (i.imm == 0) {
    return result;
  }
  const u32 c = predicate(w, i.c, (i.flags & kNegateC) != 0);
  return i.imm == 1 ? result & c : i.imm == 2 ? result | c : result ^ c;
}

inline void finish(Warp& w, const Instr& i, u32 result, u32 mask) {
  set_predicate(w, i.d, combine(w, i, result), mask);
  if (i.d2 != kNoSlot) {
    set_predicate(w, i.d2, combine(w, i, ~result), mask);
  }
}

template <class T, Compare C>
void setp(Warp& w, const Instr& i, u32 mask) {
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  finish(w, i, test_lanes([=](u32 l) { return holds<T, C>(a[l], b[l]); }), mask);
}

enum Relation : u32 { kLess = 1, kEqual = 2, kGreater = 4, kUnordered = 8 };

u32 accepted(Compare compare) {
  switch (compare) {
    case Compare::eq: return kEqual;
    case Compare::ne: return kLess | kGreater;
    case Compare::lt: return kLess;
    case Compare::le: return kLess | kEqual;
    case Compare::gt: return kGreater;
    case Compare::ge: return kGreater | kEqual;
    case Compare::equ: return kEqual | kUnordered;
    case Compare::neu: return kLess | kGreater | kUnordered;
    case Compare::ltu: return kLess | kUnordered;
    case Compare::leu: return kLess | kEqual | kUnordered;
    case Compare::gtu: return kGreater | kUnordered;
    case Compare::geu: return kGreater | kEqual | kUnordered;
    case Compare::num: return kLess | kEqual | kGreater;
    case Compare::nan: return kUnordered;
  }
  return 0;
}

template <class T>
u32 relation(T a, T b) {
  return a < b ? kLess : a > b ? kGreater : a == b ? kEqual : kUnordered;
}

template <class H, bool Flush>
float read_half(u32 bits) {
  const auto h = static_cast<u16>(bits);
  return H::widen(Flush && H::is_subnormal(h) ? static_cast<u16>(h & 0x8000U) : h);
}

// target: the comparison.
template <class T>
void setp_looked_up(Warp& w, const Instr& i, u32 mask) {
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  const u32 accept = accepted(static_cast<Compare>(i.target));
  finish(w, i, test_lanes([=](u32 l) { return (relation(a[l], b[l]) & accept) != 0; }), mask);
}

void setp_flushed(Warp& w, const Instr& i, u32 mask) {
  const float* a = slot<float>(w, i.a);
  const float* b = slot<float>(w, i.b);
  const u32 accept = accepted(static_cast<Compare>(i.target));
  finish(w, i, test_lanes([=](u32 l) {
           return (relation(flush(a[l]), flush(b[l])) & accept) != 0;
         }), mask);
}

template <class H, bool Flush>
void setp_half(Warp& w, const Instr& i, u32 mask) {
  const u16* a = slot<u16>(w, i.a);
  const u16* b = slot<u16>(w, i.b);
  const u32 accept = accepted(static_cast<Compare>(i.target));
  finish(w, i, test_lanes([=](u32 l) {
           return (relation(read_half<H, Flush>(a[l]), read_half<H, Flush>(b[l])) & accept) != 0;
         }), mask);
}

// Two halves at once: the predicate d is of the low one, d2 of the high one.
template <class H, bool Flush>
void setp_pair(Warp& w, const Instr& i, u32 mask) {
  const u32* a = slot<u32>(w, i.a);
  const u32* b = slot<u32>(w, i.b);
  const u32 accept = accepted(static_cast<Compare>(i.target));
  const auto half = [=](u32 shift) {
    return test_lanes([=](u32 l) {
      return (relation(read_half<H, Flush>(a[l] >> shift), read_half<H, Flush>(b[l] >> shift)) &
              accept) != 0;
    });
  };
  const u32 low = half(0);
  const u32 high = half(16);
  set_predicate(w, i.d, combine(w, i, low), mask);
  set_predicate(w, i.d2, combine(w, i, high), mask);
}

// The values for true are in b (a constant slot), the predicates of the two halves in a and c.
void set_pair(Warp& w, const Instr& i, u32 mask) {
  const u32 low = predicate(w, i.a);
  const u32 high = predicate(w, i.c);
  const u32* yes = slot<u32>(w, i.b);
  each(slot<u32>(w, i.d), mask, [=](u32 l) {
    return (((low >> l) & 1) != 0 ? yes[l] & 0xffffU : 0) |
           (((high >> l) & 1) != 0 ? yes[l] & 0xffff0000U : 0);
  });
}

template <class T>
Handler integer_compare(Compare compare) {
  switch (compare) {
    case Compare::eq: return setp<T, Compare::eq>;
    case Compare::ne: return setp<T, Compare::ne>;
    case Compare::lt: return setp<T, Compare::lt>;
    case Compare::le: return setp<T, Compare::le>;
    case Compare::gt: return setp<T, Compare::gt>;
    case Compare::ge: return setp<T, Compare::ge>;
    default: return nullptr;
  }
}

template <class T>
Handler float_compare(Compare compare) {
  switch (compare) {
    case Compare::equ: return setp<T, Compare::equ>;
    case Compare::neu: return setp<T, Compare::neu>;
    case Compare::ltu: return setp<T, Compare::ltu>;
    case Compare::leu: return setp<T, Compare::leu>;
    case Compare::gtu: return setp<T, Compare::gtu>;
    case Compare::geu: return setp<T, Compare::geu>;
    case Compare::num: return setp<T, Compare::num>;
    case Compare::nan: return setp<T, Compare::nan>;
    default: return integer_compare<T>(compare);
  }
}

template <class H>
Handler half_compare(bool ftz, bool pair) {
  if (pair) {
    return ftz ? setp_pair<H, true> : setp_pair<H, false>;
  }
  return ftz ? setp_half<H, true> : setp_half<H, false>;
}

}  // namespace

// from: type that is compared.
Handler find_compare(const Key& key) {
  if (key.op == Op::set) {
    return set_pair;
  }
  if (key.op != Op::setp) {
    return nullptr;
  }
  const auto compare = static_cast<Compare>(key.select);
  const bool integral = compare <= Compare::ge;
  switch (key.from) {
    case Type::b16:
    case Type::u16: return integral ? setp_looked_up<u16> : nullptr;
    case Type::s16: return integral ? setp_looked_up<s16> : nullptr;
    case Type::b32:
    case Type::u32: return integer_compare<u32>(compare);
    case Type::s32: return integer_compare<s32>(compare);
    case Type::b64:
    case Type::u64: return integer_compare<u64>(compare);
    case Type::s64: return integer_compare<s64>(compare);
    case Type::f32: return key.ftz ? setp_flushed : float_compare<float>(compare);
    case Type::f64: return float_compare<double>(compare);
    case Type::f16: return half_compare<F16>(key.ftz, false);
    case Type::f16x2: return half_compare<F16>(key.ftz, true);
    case Type::bf16: return half_compare<Bf16>(key.ftz, false);
    case Type::bf16x2: return half_compare<Bf16>(key.ftz, true);
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
