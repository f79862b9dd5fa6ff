// SPDX-License-Identifier: Apache-2.0
// atom, red and cp.async. Lanes take turns in order, so a kernel gives the same result every time
// it runs on one thread. Memory that the host or another thread may touch is changed by the
// processor's own atomic operations, whatever the scope says.
#include "float.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

struct alignas(16) Wide {
  u64 low, high;
  friend bool operator==(const Wide&, const Wide&) = default;
};

template <class T>
T read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class H>
u16 add_half(u16 a, u16 b) { return H::round(H::widen(a) + H::widen(b)); }

template <class H>
u16 choose_half(u16 a, u16 b, bool max) {
  const float x = H::widen(a);
  const float y = H::widen(b);
  if (x != x) return y != y ? kNan16 : b;
  if (y != y) return a;
  return (max ? x >= y : x <= y) ? a : b;
}

// Value types of atomics that are not the machine's own.
template <class H>
struct HalfValue {
  using Bits = u16;
  static u16 apply(AtomOp op, u16 old, u16 operand) {
    return op == AtomOp::add ? add_half<H>(old, operand)
                             : choose_half<H>(old, operand, op == AtomOp::max);
  }
};
template <class H>
struct PairValue {
  using Bits = u32;
  static u32 apply(AtomOp op, u32 old, u32 operand) {
    const auto half = [&](u32 shift) {
      return u32{HalfValue<H>::apply(op, static_cast<u16>(old >> shift),
                                     static_cast<u16>(operand >> shift))};
    };
    return half(0) | (half(16) << 16);
  }
};
template <class F, class B>
struct FloatValue {
  using Bits = B;
  static B apply(AtomOp op, B old, B operand) {
    const F a = bits_as<F>(old);
    const F b = bits_as<F>(operand);
    if (op == AtomOp::add) {
      return bits_as<B>(canonical(a + b));
    }
    if (a != a) return operand;
    if (b != b) return old;
    return (op == AtomOp::max ? a >= b : a <= b) ? old : operand;
  }
};
// atom.add.f32 on global memory flushes subnormals, on shared memory it does not (PTX ISA).
struct FlushedFloat {
  using Bits = u32;
  static u32 apply(AtomOp, u32 old, u32 operand) {
    return bits_as<u32>(canonical(flush(flush(bits_as<float>(old)) +
                                        flush(bits_as<float>(operand)))));
  }
};
template <class S>
struct IntValue {
  using Bits = std::make_unsigned_t<S>;
  static Bits apply(AtomOp op, Bits old, Bits operand) {
    switch (op) {
      case AtomOp::add: return static_cast<Bits>(old + operand);
      case AtomOp::min: return static_cast<S>(old) < static_cast<S>(operand) ? old : operand;
      case AtomOp::max: return static_cast<S>(old) > static_cast<S>(operand) ? old : operand;
      case AtomOp::inc: return old >= operand ? Bits{0} : static_cast<Bits>(old + 1);
      case AtomOp::dec:
        return old == 0 || old > operand ? operand : static_cast<Bits>(old - 1);
      case AtomOp::exch: return operand;
      case AtomOp::and_: return static_cast<Bits>(old & operand);
      case AtomOp::or_: return static_cast<Bits>(old | operand);
      case AtomOp::xor_: return static_cast<Bits>(old ^ operand);
      default: return old;
    }
  }
};

// SAFETY: reach() has checked bounds and alignment, so the processor's atomics apply.
template <class V>
typename V::Bits change(std::byte* at, AtomOp op, typename V::Bits operand, bool alone) {
  using B = typename V::Bits;
  auto* place = reinterpret_cast<B*>(at);
  if (alone) {
    const B old = read<B>(at);
    const B next = V::apply(op, old, operand);
    std::memcpy(at, &next, sizeof next);
    return old;
  }
  if (op == AtomOp::exch) {
    return __atomic_exchange_n(place, operand, __ATOMIC_SEQ_CST);
  }
  if constexpr (std::is_same_v<V, IntValue<s32>> || std::is_same_v<V, IntValue<u32>> ||
                std::is_same_v<V, IntValue<u64>> || std::is_same_v<V, IntValue<s64>>) {
    if (op == AtomOp::add) {
      return __atomic_fetch_add(place, operand, __ATOMIC_SEQ_CST);
    }
  }
  B old = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(place, &old, V::apply(op, old, operand), false,
                                      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
  }
  return old;
}

template <class A>
std::byte* place(Warp& w, const Instr& i, u32 lane, Space space, u32 bytes, bool& alone) {
  const u64 address = static_cast<A>(slot<A>(w, i.a)[lane] + static_cast<u64>(i.imm));
  if (space == Space::shared) {
    alone = true;
    return reach_shared(w, i, lane, address, bytes, bytes);
  }
  const ExtentCache& cache = w.caches[i.cache];
  alone = false;
  if (address >= cache.lo && address + bytes <= cache.end && (address & (bytes - 1)) == 0) {
    // SAFETY: the extent found last holds these bytes.
    return reinterpret_cast<std::byte*>(address + static_cast<u64>(cache.delta));
  }
  std::byte* at = reach(w, i, lane, address, bytes, bytes, Access::atomic);
  alone = at >= w.shared && at < w.shared + w.shared_bytes;
  return at;
}

// target of the instruction: the AtomOp; operand in b (first element; others in extra at e).
template <class V, Space S, class A, u32 Count>
void atom(Warp& w, const Instr& i, u32 mask) {
  using B = typename V::Bits;
  const auto op = static_cast<AtomOp>(i.target & 0xff);
  const u32* extra = w.current->function->extra.data() + (i.target >> 8);
  each_active(mask, [&](u32 l) {
    bool alone = false;
    std::byte* at = place<A>(w, i, l, S, sizeof(B) * Count, alone);
    B old[Count];
    for (u32 k = 0; k < Count; ++k) {
      const u32 operand = Count == 1 ? i.b : extra[Count + k];
      old[k] = change<V>(at + k * sizeof(B), op, slot<B>(w, operand)[l], alone);
    }
    for (u32 k = 0; k < Count; ++k) {
      const u32 d = Count == 1 ? i.d : extra[k];
      if (d != kNoSlot) {
        slot<B>(w, d)[l] = old[k];
      }
    }
  });
}

template <class B, Space S, class A>
void cas(Warp& w, const Instr& i, u32 mask) {
  each_active(mask, [&](u32 l) {
    bool alone = false;
    std::byte* at = place<A>(w, i, l, S, sizeof(B), alone);
    B expected = slot<B>(w, i.b)[l];
    const B desired = slot<B>(w, i.c)[l];
    B old = expected;
    if constexpr (sizeof(B) == 16) {
      old = read<B>(at);  // 16 bytes at once need no lock while one thread runs kernels
      if (old == expected) {
        std::memcpy(at, &desired, sizeof desired);
      }
    } else {
      __atomic_compare_exchange_n(reinterpret_cast<B*>(at), &old, desired, false,
                                  __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    if (i.d != kNoSlot) {
      slot<B>(w, i.d)[l] = old;
    }
  });
}

template <Space S, class A>
void exchange_wide(Warp& w, const Instr& i, u32 mask) {
  each_active(mask, [&](u32 l) {
    bool alone = false;
    std::byte* at = place<A>(w, i, l, S, sizeof(Wide), alone);
    const Wide old = read<Wide>(at);
    std::memcpy(at, &slot<Wide>(w, i.b)[l], sizeof(Wide));
    if (i.d != kNoSlot) {
      slot<Wide>(w, i.d)[l] = old;
    }
  });
}

// a: shared address, b: global address, c: bytes to copy (the rest up to `target` are zeros).
template <class A>
void cp_async(Warp& w, const Instr& i, u32 mask) {
  const u32 bytes = i.target & 0xff;
  const A* a = slot<A>(w, i.a);
  const u64* b = slot<u64>(w, i.b);
  each_active(mask, [&](u32 l) {
    const u32 count = i.c == kNoSlot ? bytes : slot<u32>(w, i.c)[l];
    const u32 copied = count < bytes ? count : bytes;
    std::byte* to = reach_shared(w, i, l, static_cast<A>(a[l] + static_cast<u64>(i.imm)), bytes,
                                 bytes);
    std::byte buffer[16] = {};
    if (copied != 0) {
      const u64 from = b[l] + static_cast<u64>(static_cast<s64>(static_cast<s32>(i.e)));
      std::memcpy(buffer, reach(w, i, l, from, copied, bytes, Access::load), copied);
    }
    std::memcpy(to, buffer, bytes);
  });
}

template <class V, Space S, class A>
Handler counted(u32 width) {
  switch (width) {
    case 1: return atom<V, S, A, 1>;
    case 2: return S == Space::shared ? nullptr : atom<V, S, A, 2>;
    case 4: return S == Space::shared ? nullptr : atom<V, S, A, 4>;
    default: return nullptr;
  }
}

template <Space S, class A>
Handler typed(const Key& key) {
  const auto op = static_cast<AtomOp>(key.select);
  const u32 bytes = bytes_of(key.type);
  if (op == AtomOp::cas) {
    return bytes == 2 ? cas<u16, S, A> : bytes == 4 ? cas<u32, S, A>
           : bytes == 8 ? cas<u64, S, A> : bytes == 16 ? cas<Wide, S, A> : nullptr;
  }
  switch (key.type) {
    case Type::b32:
    case Type::u32: return counted<IntValue<u32>, S, A>(key.width);
    case Type::s32: return counted<IntValue<s32>, S, A>(key.width);
    case Type::b64:
    case Type::u64: return counted<IntValue<u64>, S, A>(key.width);
    case Type::s64: return counted<IntValue<s64>, S, A>(key.width);
    case Type::f32:
      return S == Space::global ? counted<FlushedFloat, S, A>(key.width)
                                : counted<FloatValue<float, u32>, S, A>(key.width);
    case Type::f64: return counted<FloatValue<double, u64>, S, A>(key.width);
    case Type::f16: return counted<HalfValue<F16>, S, A>(key.width);
    case Type::bf16: return counted<HalfValue<Bf16>, S, A>(key.width);
    case Type::f16x2: return counted<PairValue<F16>, S, A>(key.width);
    case Type::bf16x2: return counted<PairValue<Bf16>, S, A>(key.width);
    case Type::b16: return counted<IntValue<u16>, S, A>(key.width);
    case Type::b128: return op == AtomOp::exch ? exchange_wide<S, A> : nullptr;
    default: return nullptr;
  }
}

}  // namespace

// from: type of the address register.
Handler find_atomic(const Key& key) {
  const bool narrow = bytes_of(key.from) == 4;
  if (key.op == Op::cp_async) {
    return narrow ? cp_async<u32> : cp_async<u64>;
  }
  if (key.op != Op::atom) {
    return nullptr;
  }
  switch (key.space) {
    case Space::shared:
      return narrow ? typed<Space::shared, u32>(key) : typed<Space::shared, u64>(key);
    case Space::global: return typed<Space::global, u64>(key);
    case Space::generic: return typed<Space::generic, u64>(key);
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
