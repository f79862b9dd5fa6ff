// SPDX-License-Identifier: Apache-2.0
// Loads and stores. An access by all lanes is looked at as a whole: when its addresses follow each
// other or are all the same, and lie in the extent found last, it is one copy; else lanes are
// served one by one. Whatever is unusual is left to reach() in run/memory.cc, which finds the
// extent or stops the kernel.
#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

enum class Pattern : u8 { scattered, consecutive, uniform };

// Where the addresses of all lanes lie. Halves of a warp are told apart, since blocks of 16 by 16
// threads have two rows in a warp.
struct Shape {
  u64 lo;  // lowest address
  u64 hi;  // highest address
  Pattern whole;
  Pattern half[2];
  bool aligned;
};

// 32-bit addresses are taken as signed, since a register may lie below what the offset leads to.
inline u64 wide(u64 address) { return address; }
inline u64 wide(s32 address) { return static_cast<u64>(s64{address}); }

inline constexpr u32 kHalf = kLanes / 2;

template <class A, u32 Bytes>
inline Pattern pattern_of(const A* a) {
  using U = std::make_unsigned_t<A>;
  const auto first = static_cast<U>(a[0]);
  U ramp = 0;
  U same = 0;
#pragma GCC ivdep
  for (u32 l = 0; l < kHalf; ++l) {
    ramp |= static_cast<U>(a[l]) ^ (first + l * Bytes);
    same |= static_cast<U>(a[l]) ^ first;
  }
  return ramp == 0 ? Pattern::consecutive : same == 0 ? Pattern::uniform : Pattern::scattered;
}

template <class A, u32 Bytes>
inline Shape shape_of(const A* a) {
  using U = std::make_unsigned_t<A>;
  const Pattern low = pattern_of<A, Bytes>(a);
  const Pattern high = pattern_of<A, Bytes>(a + kHalf);
  if (low != Pattern::scattered && high != Pattern::scattered) {
    const A starts[2] = {a[0], a[kHalf]};
    const A ends[2] = {a[kHalf - 1], a[kLanes - 1]};
    const bool follows = static_cast<U>(starts[1]) ==
                         static_cast<U>(static_cast<U>(starts[0]) + kHalf * Bytes);
    const Pattern whole = low != high ? Pattern::scattered
                          : low == Pattern::consecutive && follows ? Pattern::consecutive
                          : low == Pattern::uniform && starts[0] == starts[1]
                              ? Pattern::uniform : Pattern::scattered;
    return {wide(starts[0] < starts[1] ? starts[0] : starts[1]),
            wide(ends[0] > ends[1] ? ends[0] : ends[1]), whole, {low, high},
            ((starts[0] | starts[1]) & (Bytes - 1)) == 0};
  }
  A lo = a[0];
  A hi = a[0];
  A all = a[0];
#pragma GCC ivdep
  for (u32 l = 0; l < kLanes; ++l) {
    lo = a[l] < lo ? a[l] : lo;
    hi = a[l] > hi ? a[l] : hi;
    all |= a[l];
  }
  return {wide(lo), wide(hi), Pattern::scattered, {low, high}, (all & (Bytes - 1)) == 0};
}

// SAFETY: callers have checked that [lo, hi + Bytes) lies in one extent, or in shared memory, and
// that `base + address` is the host's address of `address`.
template <class M>
inline M read(const std::byte* at) {
  M value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}

// Registers that a vector access reads or writes: the first in the instruction, others in extra.
template <class R, u32 Count>
inline void places(Warp& w, const Instr& i, R** out) {
  if constexpr (Count == 1) {
    out[0] = i.d == kNoSlot ? nullptr : slot<R>(w, i.d);
  } else {
    const u32* extra = w.current->function->extra.data() + i.target;
    for (u32 k = 0; k < Count; ++k) {
      out[k] = extra[k] == kNoSlot ? nullptr : slot<R>(w, extra[k]);
    }
  }
}

// Sixteen lanes of one register.
template <class M, class R, class A>
inline void load_half(R* d, const std::byte* base, const A* a, Pattern pattern) {
  if constexpr (std::is_same_v<M, R>) {
    if (pattern == Pattern::consecutive) {
      __builtin_memcpy(d, base + a[0], kHalf * sizeof(M));
      return;
    }
  }
  if (pattern == Pattern::uniform) {
    const R value = static_cast<R>(read<M>(base + a[0]));
    for (u32 l = 0; l < kHalf; ++l) {
      d[l] = value;
    }
    return;
  }
  for (u32 l = 0; l < kHalf; ++l) {
    d[l] = static_cast<R>(read<M>(base + a[l]));
  }
}

template <class M, class R, u32 Count, class A>
inline void load_all(R** d, const std::byte* base, const A* a, const Shape& shape) {
  if constexpr (Count == 1) {
    if constexpr (std::is_same_v<M, R>) {
      if (shape.whole == Pattern::consecutive) {
        __builtin_memcpy(d[0], base + a[0], kLanes * sizeof(M));
        return;
      }
    }
    load_half<M>(d[0], base, a, shape.half[0]);
    load_half<M>(d[0] + kHalf, base, a + kHalf, shape.half[1]);
  } else {
    // The address register may be one of those written, so all is read first.
    R values[Count][kLanes];
    if (shape.whole == Pattern::uniform) {
      for (u32 k = 0; k < Count; ++k) {
        const R value = static_cast<R>(read<M>(base + a[0] + k * sizeof(M)));
        for (u32 l = 0; l < kLanes; ++l) {
          values[k][l] = value;
        }
      }
    } else {
      for (u32 l = 0; l < kLanes; ++l) {
        for (u32 k = 0; k < Count; ++k) {
          values[k][l] = static_cast<R>(read<M>(base + a[l] + k * sizeof(M)));
        }
      }
    }
    for (u32 k = 0; k < Count; ++k) {
      if (d[k] != nullptr) {
        __builtin_memcpy(d[k], values[k], sizeof values[k]);
      }
    }
  }
}

template <class M, class R, u32 Count>
inline void load_lane(R** d, const std::byte* at, u32 lane) {
  R values[Count];
  for (u32 k = 0; k < Count; ++k) {
    values[k] = static_cast<R>(read<M>(at + k * sizeof(M)));
  }
  for (u32 k = 0; k < Count; ++k) {
    if (d[k] != nullptr) {
      d[k][lane] = values[k];
    }
  }
}

template <class M, class R, u32 Count, class A>
inline void store_all(R** s, std::byte* base, const A* a, const Shape& shape) {
  if constexpr (Count == 1 && std::is_same_v<M, R>) {
    if (shape.whole == Pattern::consecutive) {
      __builtin_memcpy(base + a[0], s[0], kLanes * sizeof(M));
      return;
    }
  }
  for (u32 l = 0; l < kLanes; ++l) {
    for (u32 k = 0; k < Count; ++k) {
      if (s[k] != nullptr) {
        const M value = static_cast<M>(s[k][l]);
        __builtin_memcpy(base + a[l] + k * sizeof(M), &value, sizeof value);
      }
    }
  }
}

template <class M, class R, u32 Count>
inline void store_lane(R** s, std::byte* at, u32 lane) {
  for (u32 k = 0; k < Count; ++k) {
    if (s[k] != nullptr) {
      const M value = static_cast<M>(s[k][lane]);
      __builtin_memcpy(at + k * sizeof(M), &value, sizeof value);
    }
  }
}

inline bool holds(const ExtentCache& c, u64 lo, u64 end) { return lo >= c.lo && end <= c.end; }

// Global and generic addresses.
template <class M, class R, u32 Count, bool Store>
void access_global(Warp& w, const Instr& i, u32 mask) {
  constexpr u32 kBytes = sizeof(M) * Count;
  R* regs[Count];
  places<R, Count>(w, i, regs);
  const u64* a = slot<u64>(w, i.a);
  const ExtentCache& cache = w.caches[i.cache];
  const auto offset = static_cast<u64>(i.imm);
  if (mask == kFullMask) [[likely]] {
    const Shape shape = shape_of<u64, kBytes>(a);
    const u64 lo = shape.lo + offset;
    const u64 end = shape.hi + offset + kBytes;
    const bool aligned = shape.aligned && (offset & (kBytes - 1)) == 0;
    if (aligned && lo < end &&
        (holds(cache, lo, end) ||
         refill(w, i, lo, end, Store ? Access::store : Access::load))) [[likely]] {
      // SAFETY: the extent holds [lo, end); delta leads from device to host addresses.
      std::byte* base = reinterpret_cast<std::byte*>(offset + static_cast<u64>(cache.delta));
      if constexpr (Store) {
        store_all<M, R, Count>(regs, base, a, shape);
      } else {
        load_all<M, R, Count>(regs, base, a, shape);
      }
      return;
    }
  }
  each_active(mask, [&](u32 l) {
    const u64 address = a[l] + offset;
    std::byte* at;
    if (holds(cache, address, address + kBytes) && (address & (kBytes - 1)) == 0) {
      // SAFETY: as above, for one lane.
      at = reinterpret_cast<std::byte*>(address + static_cast<u64>(cache.delta));
    } else {
      at = reach(w, i, l, address, kBytes, kBytes, Store ? Access::store : Access::load);
    }
    if constexpr (Store) {
      store_lane<M, R, Count>(regs, at, l);
    } else {
      load_lane<M, R, Count>(regs, at, l);
    }
  });
}

// Shared memory by 32-bit offsets.
template <class M, class R, u32 Count, bool Store>
void access_shared(Warp& w, const Instr& i, u32 mask) {
  constexpr u32 kBytes = sizeof(M) * Count;
  R* regs[Count];
  places<R, Count>(w, i, regs);
  const s32* a = slot<s32>(w, i.a);
  const auto offset = static_cast<u64>(i.imm);
  if (mask == kFullMask) [[likely]] {
    const Shape shape = shape_of<s32, kBytes>(a);
    const u64 lo = shape.lo + offset;
    const u64 end = shape.hi + offset + kBytes;
    if (shape.aligned && (offset & (kBytes - 1)) == 0 && lo < end && end <= w.shared_bytes)
        [[likely]] {
      std::byte* base = w.shared + i.imm;
      if constexpr (Store) {
        store_all<M, R, Count>(regs, base, a, shape);
      } else {
        load_all<M, R, Count>(regs, base, a, shape);
      }
      return;
    }
  }
  each_active(mask, [&](u32 l) {
    std::byte* at = reach_shared(w, i, l, static_cast<u32>(wide(a[l]) + offset), kBytes, kBytes);
    if constexpr (Store) {
      store_lane<M, R, Count>(regs, at, l);
    } else {
      load_lane<M, R, Count>(regs, at, l);
    }
  });
}

// A kernel parameter at a fixed offset, the same for all lanes. Lowering has checked the bounds.
template <class M, class R, u32 Count>
void load_param(Warp& w, const Instr& i, u32 mask) {
  R* regs[Count];
  places<R, Count>(w, i, regs);
  for (u32 k = 0; k < Count; ++k) {
    if (regs[k] != nullptr) {
      const R value = static_cast<R>(read<M>(w.params + i.imm + k * sizeof(M)));
      each(regs[k], mask, [=](u32) { return value; });
    }
  }
}

template <class M, class R, u32 Count>
Handler place(const Key& key) {
  const bool store = key.op == Op::st;
  const bool wide = key.select == 1;
  if (key.op == Op::ld_param) {
    return load_param<M, R, Count>;
  }
  switch (key.space) {
    case Space::generic:
    case Space::global:
    case Space::constant:
      return store ? access_global<M, R, Count, true> : access_global<M, R, Count, false>;
    case Space::shared:
      if (wide) {
        return nullptr;
      }
      return store ? access_shared<M, R, Count, true> : access_shared<M, R, Count, false>;
    default: return nullptr;
  }
}

// Registers of the same size as in memory.
template <class M>
Handler counted(const Key& key) {
  switch (key.width) {
    case 1: return place<M, M, 1>(key);
    case 2: return place<M, M, 2>(key);
    case 4: if constexpr (sizeof(M) == 4) return place<M, M, 4>(key); break;
    default: break;
  }
  return nullptr;
}

// One byte or half word in a wider register; loads extend, stores take the low bits.
template <class M>
Handler extended(const Key& key) {
  if (key.width != 1) {
    return nullptr;
  }
  switch (bytes_of(key.from)) {
    case 2: if constexpr (sizeof(M) == 1) return place<M, u16, 1>(key); break;
    case 4: if constexpr (sizeof(M) <= 2) return place<M, u32, 1>(key); break;
    default: break;
  }
  return nullptr;
}

Handler common_access(const Key& key) {
  const bool extend = key.op != Op::st && is_signed(key.type);
  const u32 bytes = bytes_of(key.type);
  if (bytes == bytes_of(key.from)) {
    return bytes == 2 ? counted<u16>(key) : bytes == 4 ? counted<u32>(key)
           : bytes == 8 ? counted<u64>(key) : nullptr;
  }
  return bytes == 1 ? (extend ? extended<s8>(key) : extended<u8>(key))
         : bytes == 2 ? (extend ? extended<s16>(key) : extended<u16>(key)) : nullptr;
}

void prefetch(Warp&, const Instr&, u32) {}

void fence(Warp&, const Instr&, u32) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// cvta: imm is the start of the window.
template <class R>
void to_generic(Warp& w, const Instr& i, u32 mask) {
  u64* d = slot<u64>(w, i.d);
  const R* a = slot<R>(w, i.a);
  const auto window = static_cast<u64>(i.imm);
  each(d, mask, [=](u32 l) { return a[l] + window; });
}
template <class R>
void from_generic(Warp& w, const Instr& i, u32 mask) {
  R* d = slot<R>(w, i.d);
  const u64* a = slot<u64>(w, i.a);
  const auto window = static_cast<u64>(i.imm);
  each(d, mask, [=](u32 l) { return static_cast<R>(a[l] - window); });
}

}  // namespace

// type: in memory; from: the registers' type, of which only the size counts; select: 1 = the
// address register has 64 bits.
Handler find_memory(const Key& key) {
  switch (key.op) {
    case Op::prefetch:
    case Op::nop: return prefetch;
    case Op::fence: return fence;
    case Op::cvta_to: return bytes_of(key.from) == 4 ? to_generic<u32> : to_generic<u64>;
    case Op::cvta_from: return bytes_of(key.type) == 4 ? from_generic<u32> : from_generic<u64>;
    case Op::ld:
    case Op::st:
    case Op::ld_param: break;
    default: return nullptr;
  }
  const Handler handler = common_access(key);
  return handler != nullptr ? handler : find_general_access(key);
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
