// SPDX-License-Identifier: Apache-2.0
// Loops over lanes. With all lanes active the compiler makes vector code of them; with some, the
// result of every lane is computed and those of the active ones are kept, which is cheaper than
// visiting lanes one by one and harmless for operations that cannot fault.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "../run/warp.h"
#include "key.h"

#ifndef PHOS_PTX_ISA
#define PHOS_PTX_ISA isa_baseline
#endif

namespace phos::sim::ptx::PHOS_PTX_ISA {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

// SAFETY: slots are offsets that lowering laid out inside of the frame, aligned to 32 bytes, with
// room for 32 lanes of the type's size. Files that use this are compiled with
// -fno-strict-aliasing, since a register holds whatever type an instruction sees in it.
template <class T>
inline T* slot(Warp& warp, u32 offset) {
  return reinterpret_cast<T*>(__builtin_assume_aligned(warp.frame + offset, 32));
}

template <class T>
inline T bits_as(auto value) {
  static_assert(sizeof(T) == sizeof(value));
  T result;
  __builtin_memcpy(&result, &value, sizeof result);
  return result;
}

// d[lane] = f(lane) for the lanes in the mask; f is pure and safe to call for every lane.
template <class D, class F>
inline __attribute__((always_inline)) void each(D* d, u32 mask, F f) {
  if (mask == kFullMask) [[likely]] {
#pragma GCC ivdep
    for (u32 lane = 0; lane < kLanes; ++lane) {
      d[lane] = f(lane);
    }
    return;
  }
  alignas(32) D result[kLanes];
#pragma GCC ivdep
  for (u32 lane = 0; lane < kLanes; ++lane) {
    result[lane] = f(lane);
  }
#pragma GCC ivdep
  for (u32 lane = 0; lane < kLanes; ++lane) {
    d[lane] = ((mask >> lane) & 1U) != 0 ? result[lane] : d[lane];
  }
}

// f(lane) for the lanes in the mask, in order. For what is slow or may fault.
template <class F>
inline void each_active(u32 mask, F f) {
  for (; mask != 0; mask &= mask - 1) {
    f(static_cast<u32>(__builtin_ctz(mask)));
  }
}

// One bit per lane of 32 words that are 0 or -1.
inline u32 mask_of(const s32* words) {
  u32 mask = 0;
#if defined(__AVX2__)
  for (u32 i = 0; i < 4; ++i) {
    const __m256 part = _mm256_load_ps(reinterpret_cast<const float*>(words + 8 * i));
    mask |= static_cast<u32>(_mm256_movemask_ps(part)) << (8 * i);
  }
#elif defined(__SSE2__)
  for (u32 i = 0; i < 8; ++i) {
    const __m128 part = _mm_load_ps(reinterpret_cast<const float*>(words + 4 * i));
    mask |= static_cast<u32>(_mm_movemask_ps(part)) << (4 * i);
  }
#else
  for (u32 lane = 0; lane < kLanes; ++lane) {
    mask |= static_cast<u32>(words[lane] & 1) << lane;
  }
#endif
  return mask;
}

// One bit per lane of a pure condition.
template <class F>
inline u32 test_lanes(F f) {
  alignas(32) s32 words[kLanes];
#pragma GCC ivdep
  for (u32 lane = 0; lane < kLanes; ++lane) {
    words[lane] = f(lane) ? -1 : 0;
  }
  return mask_of(words);
}

// SAFETY: predicate slots are words of the frame, aligned to 4 bytes.
inline u32 predicate(Warp& warp, u32 offset, bool negated = false) {
  u32 value;
  std::memcpy(&value, warp.frame + offset, sizeof value);
  return negated ? ~value : value;
}

inline void set_predicate(Warp& warp, u32 offset, u32 value, u32 mask) {
  if (offset == kNoSlot) {
    return;
  }
  u32 old;
  std::memcpy(&old, warp.frame + offset, sizeof old);
  old = (old & ~mask) | (value & mask);
  std::memcpy(warp.frame + offset, &old, sizeof old);
}

template <class T, class Operation>
void unary(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  each(d, mask, [=](u32 l) { return Operation::apply(a[l]); });
}

template <class T, class Operation>
void binary(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  each(d, mask, [=](u32 l) { return Operation::apply(a[l], b[l]); });
}

template <class T, class Operation>
void ternary(Warp& w, const Instr& i, u32 mask) {
  T* d = slot<T>(w, i.d);
  const T* a = slot<T>(w, i.a);
  const T* b = slot<T>(w, i.b);
  const T* c = slot<T>(w, i.c);
  each(d, mask, [=](u32 l) { return Operation::apply(a[l], b[l], c[l]); });
}

Handler find_integer(const Key& key);
Handler find_bits(const Key& key);
Handler find_carry(const Key& key);
Handler find_move(const Key& key);
Handler find_compare(const Key& key);
Handler find_float(const Key& key);
Handler find_rounded(const Key& key);
Handler find_half(const Key& key);
Handler find_approx(const Key& key);
Handler find_convert(const Key& key);
Handler find_memory(const Key& key);
Handler find_general_access(const Key& key);
Handler find_atomic(const Key& key);
Handler find_warp(const Key& key);
Handler find_special(const Key& key);
Handler find_matrix(const Key& key);

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
