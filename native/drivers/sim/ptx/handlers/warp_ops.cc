// SPDX-License-Identifier: Apache-2.0
// Operations between the lanes of a warp. The scheduler runs them once all lanes that the
// instruction names have arrived; the mask holds those that are here.
#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

enum class Mode : u8 { up, down, bfly, idx };

// a: value, b: lane or delta, c: clamp and segment mask; d2: whether the source was in range.
template <Mode M>
void shfl(Warp& w, const Instr& i, u32 mask) {
  u32* d = slot<u32>(w, i.d);
  const u32* b = slot<u32>(w, i.b);
  const u32* c = slot<u32>(w, i.c);
  alignas(32) u32 value[kLanes];
  std::memcpy(value, slot<u32>(w, i.a), sizeof value);
  alignas(32) u32 result[kLanes];
  alignas(32) s32 in_range[kLanes];
#pragma GCC ivdep
  for (u32 l = 0; l < kLanes; ++l) {
    const s32 lane = static_cast<s32>(l);
    const s32 by = static_cast<s32>(b[l] & 31);
    const u32 segment = (c[l] >> 8) & 31;
    const u32 clamp = c[l] & 31;
    const s32 most = static_cast<s32>((l & segment) | (clamp & ~segment));
    const s32 least = static_cast<s32>(l & segment);
    s32 source = 0;
    bool ok = false;
    switch (M) {
      case Mode::up: source = lane - by; ok = source >= most; break;
      case Mode::down: source = lane + by; ok = source <= most; break;
      case Mode::bfly: source = lane ^ by; ok = source <= most; break;
      case Mode::idx:
        source = least | static_cast<s32>(static_cast<u32>(by) & ~segment);
        ok = source <= most;
        break;
    }
    in_range[l] = ok ? -1 : 0;
    result[l] = value[static_cast<u32>(ok ? source : lane) & 31];
  }
  each(d, mask, [&](u32 l) { return result[l]; });
  set_predicate(w, i.d2, mask_of(in_range), mask);
}

// select: 0 all, 1 any, 2 uni, 3 ballot. The lanes that vote are those in the mask.
template <u32 What>
void vote(Warp& w, const Instr& i, u32 mask) {
  const u32 p = predicate(w, i.a, (i.flags & kNegateA) != 0) & mask;
  if constexpr (What == 3) {
    u32* d = slot<u32>(w, i.d);
    each(d, mask, [=](u32) { return p; });
  } else {
    const bool yes = What == 0 ? p == mask : What == 1 ? p != 0 : p == mask || p == 0;
    set_predicate(w, i.d, yes ? kFullMask : 0, mask);
  }
}

template <class T>
void match_any(Warp& w, const Instr& i, u32 mask) {
  u32* d = slot<u32>(w, i.d);
  const T* a = slot<T>(w, i.a);
  u32 left = mask;
  while (left != 0) {
    const T wanted = a[__builtin_ctz(left)];
    const u32 same = test_lanes([=](u32 l) { return a[l] == wanted; }) & mask;
    each_active(same, [=](u32 l) { d[l] = same; });
    left &= ~same;
  }
}

template <class T>
void match_all(Warp& w, const Instr& i, u32 mask) {
  const T* a = slot<T>(w, i.a);
  const T wanted = a[__builtin_ctz(mask)];
  const u32 same = test_lanes([=](u32 l) { return a[l] == wanted; }) & mask;
  const u32 result = same == mask ? mask : 0;
  if (i.d != kNoSlot) {
    each(slot<u32>(w, i.d), mask, [=](u32) { return result; });
  }
  set_predicate(w, i.d2, result != 0 ? kFullMask : 0, mask);
}

enum class Reduce : u8 { add, min, max, and_, or_, xor_ };

template <Reduce R, class T>
void redux(Warp& w, const Instr& i, u32 mask) {
  const T* a = slot<T>(w, i.a);
  T result = a[__builtin_ctz(mask)];
  each_active(mask & (mask - 1), [&](u32 l) {
    switch (R) {
      case Reduce::add:
        result = static_cast<T>(static_cast<u32>(result) + static_cast<u32>(a[l]));
        break;
      case Reduce::min: result = a[l] < result ? a[l] : result; break;
      case Reduce::max: result = a[l] > result ? a[l] : result; break;
      case Reduce::and_: result = static_cast<T>(result & a[l]); break;
      case Reduce::or_: result = static_cast<T>(result | a[l]); break;
      case Reduce::xor_: result = static_cast<T>(result ^ a[l]); break;
    }
  });
  each(slot<T>(w, i.d), mask, [=](u32) { return result; });
}

void activemask(Warp& w, const Instr& i, u32 mask) {
  each(slot<u32>(w, i.d), mask, [=](u32) { return mask; });
}

void elect(Warp& w, const Instr& i, u32 mask) {
  const auto leader = static_cast<u32>(__builtin_ctz(mask));
  if (i.d != kNoSlot) {
    each(slot<u32>(w, i.d), mask, [=](u32) { return leader; });
  }
  set_predicate(w, i.d2, 1U << leader, mask);
}

void nothing(Warp&, const Instr&, u32) {}

Handler shfl_of(u32 mode) {
  switch (static_cast<Mode>(mode)) {
    case Mode::up: return shfl<Mode::up>;
    case Mode::down: return shfl<Mode::down>;
    case Mode::bfly: return shfl<Mode::bfly>;
    default: return shfl<Mode::idx>;
  }
}

template <class T>
Handler redux_of(u32 what) {
  switch (static_cast<Reduce>(what)) {
    case Reduce::add: return redux<Reduce::add, T>;
    case Reduce::min: return redux<Reduce::min, T>;
    case Reduce::max: return redux<Reduce::max, T>;
    case Reduce::and_: return redux<Reduce::and_, T>;
    case Reduce::or_: return redux<Reduce::or_, T>;
    default: return redux<Reduce::xor_, T>;
  }
}

}  // namespace

Handler find_warp(const Key& key) {
  const bool wide = bytes_of(key.type) == 8;
  constexpr Handler votes[] = {vote<0>, vote<1>, vote<2>, vote<3>};
  switch (key.op) {
    case Op::shfl: return shfl_of(key.select);
    case Op::vote: return votes[key.select & 3];
    case Op::match_any: return wide ? match_any<u64> : match_any<u32>;
    case Op::match_all: return wide ? match_all<u64> : match_all<u32>;
    case Op::redux:
      return key.type == Type::s32 ? redux_of<s32>(key.select) : redux_of<u32>(key.select);
    case Op::activemask: return activemask;
    case Op::elect: return elect;
    case Op::warp_sync_only: return nothing;
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
