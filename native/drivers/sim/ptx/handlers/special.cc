// SPDX-License-Identifier: Apache-2.0
// Clocks, questions about addresses, and the stack.
#include "../../memory/address_space.h"
#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

template <class T>
void all_lanes(Warp& w, const Instr& i, u32 mask, T value) {
  each(slot<T>(w, i.d), mask, [=](u32) { return value; });
}

void clock32(Warp& w, const Instr& i, u32 mask) {
  all_lanes(w, i, mask, static_cast<u32>(clock_now(w)));
}
void clock_high(Warp& w, const Instr& i, u32 mask) {
  all_lanes(w, i, mask, static_cast<u32>(clock_now(w) >> 32));
}
void clock64(Warp& w, const Instr& i, u32 mask) { all_lanes(w, i, mask, clock_now(w)); }
void timer32(Warp& w, const Instr& i, u32 mask) {
  all_lanes(w, i, mask, static_cast<u32>(time_now(w) >> static_cast<u32>(i.imm)));
}
void timer64(Warp& w, const Instr& i, u32 mask) { all_lanes(w, i, mask, time_now(w)); }

// imm: start of the window; 0 asks for global memory, which is all that is in no window.
void isspacep(Warp& w, const Instr& i, u32 mask) {
  const u64* a = slot<u64>(w, i.a);
  const auto window = static_cast<u64>(i.imm);
  const u32 result = window != 0
      ? test_lanes([=](u32 l) { return a[l] - window < kSpecialWindowBytes; })
      : test_lanes([=](u32 l) { return a[l] - kSharedWindow >= 3 * kSpecialWindowBytes; });
  set_predicate(w, i.d, result, mask);
}

// Local memory grows by the largest request of the lanes that are here; all of them get the same
// offset, as frames do.
template <class T>
void alloca_(Warp& w, const Instr& i, u32 mask) {
  const T* a = slot<T>(w, i.a);
  u64 most = 0;
  each_active(mask, [&](u32 l) { most = a[l] > most ? u64{a[l]} : most; });
  const u64 align = static_cast<u64>(i.imm);
  const u64 start = (u64{w.current->local_top} + align - 1) / align * align;
  if (start + most > w.local_stride) {
    stop(i, kErrorLaunchFailed, static_cast<u32>(__builtin_ctz(mask)), 0,
         "the stack of a thread is full");
  }
  w.current->local_top = static_cast<u32>(start + most);
  all_lanes(w, i, mask, static_cast<T>(start));
}
template <class T>
void stacksave(Warp& w, const Instr& i, u32 mask) {
  all_lanes(w, i, mask, static_cast<T>(w.current->local_top));
}
template <class T>
void stackrestore(Warp& w, const Instr& i, u32 mask) {
  const T value = slot<T>(w, i.a)[__builtin_ctz(mask)];
  if (value >= w.current->local_base && value <= w.local_stride) {
    w.current->local_top = static_cast<u32>(value);
  }
}

}  // namespace

Handler find_special(const Key& key) {
  const bool wide = bytes_of(key.type) == 8;
  switch (key.op) {
    case Op::clock: return wide ? clock64 : clock32;
    case Op::clock_hi: return clock_high;
    case Op::globaltimer: return timer64;
    case Op::timer32: return timer32;
    case Op::isspacep: return isspacep;
    case Op::alloca: return wide ? alloca_<u64> : alloca_<u32>;
    case Op::stacksave: return wide ? stacksave<u64> : stacksave<u32>;
    case Op::stackrestore: return wide ? stackrestore<u64> : stackrestore<u32>;
    default: return nullptr;
  }
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
