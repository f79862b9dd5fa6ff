// SPDX-License-Identifier: Apache-2.0
// Moves, selections, packing of registers into wider ones, and logic on predicates.
#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

struct alignas(16) Wide {
  u64 low, high;
};

template <class T>
void mov(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  each(d, mask, [=](u32 l) { return a[l]; });
}

// From a wider or narrower integer: the low bits, or extended by the sign of From.
template <class To, class From>
void narrow(Warp& w, const Instr& i, u32 mask) {
  To* d = slot<To>(w, i.d);
  const From* a = slot<From>(w, i.a);
  each(d, mask, [=](u32 l) { return static_cast<To>(a[l]); });
}

template <class T>
void selp(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  const u32 p = predicate(w, i.c, (i.flags & kNegateC) != 0);
  each(d, mask, [=](u32 l) { return ((p >> l) & 1) != 0 ? a[l] : b[l]; });
}

template <class T, class C>
void slct(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  const C* c = slot<C>(w, i.c);
  each(d, mask, [=](u32 l) { return c[l] >= C{0} ? a[l] : b[l]; });
}

// slct with .ftz: a subnormal negative counts as -0, which is >= 0.
template <class T>
void slct_ftz(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  const float* c = slot<float>(w, i.c);
  each(d, mask, [=](u32 l) { return c[l] > -0x1p-126f ? a[l] : b[l]; });
}

// The parts, lowest first, in extra slots; a missing one is read as zero and not written.
template <class Whole, class Part>
void pack(Warp& w, const Instr& i, u32 mask) {
  constexpr u32 kParts = sizeof(Whole) / sizeof(Part);
  const u32* places = w.current->function->extra.data() + i.target;
  Part* d = slot<Part>(w, i.d);
  alignas(32) Part result[kLanes * kParts];
  for (u32 part = 0; part < kParts; ++part) {
    const Part* a = slot<Part>(w, places[part]);
    for (u32 l = 0; l < kLanes; ++l) {
      result[l * kParts + part] = a[l];
    }
  }
  if (mask == kFullMask) {
    std::memcpy(d, result, sizeof result);
  } else {
    each_active(mask, [&](u32 l) {
      std::memcpy(d + l * kParts, result + l * kParts, sizeof(Whole));
    });
  }
}

template <class Whole, class Part>
void unpack(Warp& w, const Instr& i, u32 mask) {
  constexpr u32 kParts = sizeof(Whole) / sizeof(Part);
  const u32* places = w.current->function->extra.data() + i.target;
  alignas(32) Part whole[kLanes * kParts];
  std::memcpy(whole, slot<Part>(w, i.a), sizeof whole);
  for (u32 part = 0; part < kParts; ++part) {
    if (places[part] != kNoSlot) {
      Part* d = slot<Part>(w, places[part]);
      each(d, mask, [&](u32 l) { return whole[l * kParts + part]; });
    }
  }
}

template <u32 Operation>
void logic(Warp& w, const Instr& i, u32 mask) {
  const u32 a = predicate(w, i.a, (i.flags & kNegateA) != 0);
  u32 result = a;
  if constexpr (Operation == 4) {
    result = ~a;
  } else if constexpr (Operation != 3) {
    const u32 b = predicate(w, i.b, (i.flags & kNegateB) != 0);
    result = Operation == 0 ? a & b : Operation == 1 ? a | b : a ^ b;
  }
  set_predicate(w, i.d, result, mask);
}

// Predicates to and from words, for calls that pass them.
void load_predicate(Warp& w, const Instr& i, u32 mask) {
  const u32* a = slot<u32>(w, i.a);
  set_predicate(w, i.d, test_lanes([=](u32 l) { return a[l] != 0; }), mask);
}
void store_predicate(Warp& w, const Instr& i, u32 mask) {
  const u32 p = predicate(w, i.a, (i.flags & kNegateA) != 0);
  u32* d = slot<u32>(w, i.d);
  each(d, mask, [=](u32 l) { return (p >> l) & 1; });
}

template <template <class> class F>
Handler by_size(u32 bytes) {
  switch (bytes) {
    case 1: return F<u8>::handler;
    case 2: return F<u16>::handler;
    case 4: return F<u32>::handler;
    case 8: return F<u64>::handler;
    default: return F<Wide>::handler;
  }
}
template <class T> struct Mov { static constexpr Handler handler = mov<T>; };
template <class T> struct Selp { static constexpr Handler handler = selp<T>; };
template <class T> struct SlctInt { static constexpr Handler handler = slct<T, s32>; };
template <class T> struct SlctFloat { static constexpr Handler handler = slct<T, float>; };
template <class T> struct SlctFtz { static constexpr Handler handler = slct_ftz<T>; };

template <class To>
Handler narrow_from(Type from) {
  switch (from) {
    case Type::u8: return narrow<To, u8>;
    case Type::s8: return narrow<To, s8>;
    case Type::u16: return narrow<To, u16>;
    case Type::s16: return narrow<To, s16>;
    case Type::u32: return narrow<To, u32>;
    case Type::s32: return narrow<To, s32>;
    case Type::u64: return narrow<To, u64>;
    case Type::s64: return narrow<To, s64>;
    default: return nullptr;
  }
}

// type: the whole; from: a part.
Handler parts_of(const Key& key, bool packing) {
  const u32 whole = bytes_of(key.type);
  const u32 part = bytes_of(key.from);
  if (whole == 2 && part == 1) return packing ? pack<u16, u8> : unpack<u16, u8>;
  if (whole == 4 && part == 1) return packing ? pack<u32, u8> : unpack<u32, u8>;
  if (whole == 4 && part == 2) return packing ? pack<u32, u16> : unpack<u32, u16>;
  if (whole == 8 && part == 2) return packing ? pack<u64, u16> : unpack<u64, u16>;
  if (whole == 8 && part == 4) return packing ? pack<u64, u32> : unpack<u64, u32>;
  if (whole == 16 && part == 8) return packing ? pack<Wide, u64> : unpack<Wide, u64>;
  if (whole == 16 && part == 4) return packing ? pack<Wide, u32> : unpack<Wide, u32>;
  return nullptr;
}

}  // namespace

Handler find_move(const Key& key) {
  const u32 bytes = bytes_of(key.type);
  switch (key.op) {
    case Op::mov: return by_size<Mov>(bytes);
    case Op::selp: return by_size<Selp>(bytes);
    case Op::slct_s32: return by_size<SlctInt>(bytes);
    case Op::slct_f32: return key.ftz ? by_size<SlctFtz>(bytes) : by_size<SlctFloat>(bytes);
    case Op::narrow:
      return bytes == 1 ? narrow_from<u8>(key.from)
             : bytes == 2 ? narrow_from<u16>(key.from)
             : bytes == 4 ? narrow_from<u32>(key.from)
             : bytes == 8 ? narrow_from<u64>(key.from) : nullptr;
    case Op::pack: return parts_of(key, true);
    case Op::unpack: return parts_of(key, false);
    case Op::and_pred: return logic<0>;
    case Op::or_pred: return logic<1>;
    case Op::xor_pred: return logic<2>;
    case Op::mov_pred: return logic<3>;
    case Op::not_pred: return logic<4>;
    case Op::load_pred: return load_predicate;
    case Op::store_pred: return store_predicate;
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
