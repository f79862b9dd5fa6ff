// SPDX-License-Identifier: Apache-2.0
// mbarrier: a barrier that is a word in shared memory. The word is opaque to programs; here it
// holds, from the lowest bit on, 20 bits of arrivals expected in a phase, 20 bits of arrivals that
// the current phase still waits for, and the number of the phase. Copies of cp.async are complete
// when the instruction is, so what waits for them has nothing to wait for.
#include "mbarrier.h"

#include "topics.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {
namespace {

constexpr u64 kCount = (u64{1} << 20) - 1;

struct State {
  u64 expected;
  u64 pending;
  u64 phase;
};
State unpack(u64 word) { return {word & kCount, (word >> 20) & kCount, word >> 40}; }
u64 pack(const State& s) { return s.expected | (s.pending << 20) | (s.phase << 40); }

template <class A, bool Shared>
u64* place(Warp& w, const Instr& i, u32 lane) {
  const u64 address = static_cast<u64>(slot<A>(w, i.a)[lane]) + static_cast<u64>(i.imm);
  std::byte* at = Shared ? reach_shared(w, i, lane, static_cast<u32>(address), 8, 8)
                         : reach(w, i, lane, address, 8, 8, Access::atomic);
  // SAFETY: reach() has checked eight aligned bytes.
  return reinterpret_cast<u64*>(at);
}

// Takes arrivals off the phase; the last one opens the next.
void arrive(const Instr& i, u32 lane, State& s, u64 count, bool may_complete) {
  if (count > s.pending || (count == s.pending && !may_complete)) {
    stop(i, kErrorLaunchFailed, lane, 0, "more threads arrive at the barrier than it expects");
  }
  s.pending -= count;
  if (s.pending == 0) {
    ++s.phase;
    s.pending = s.expected;
  }
}

template <class A, bool Shared>
void mbarrier(Warp& w, const Instr& i, u32 mask) {
  const auto op = static_cast<BarrierOp>(i.e);
  u32 passed = 0;
  each_active(mask, [&](u32 l) {
    u64* at = place<A, Shared>(w, i, l);
    State s = unpack(*at);
    const u64 before = *at;
    const u64 count = i.c == kNoSlot ? 1 : slot<u32>(w, i.c)[l] & kCount;
    switch (op) {
      case BarrierOp::init: s = {count, count, 0}; break;
      case BarrierOp::inval: s = {}; break;
      case BarrierOp::arrive:
      case BarrierOp::copy_arrive: arrive(i, l, s, count, true); break;
      case BarrierOp::arrive_no_complete: arrive(i, l, s, count, false); break;
      case BarrierOp::drop:
      case BarrierOp::drop_no_complete:
        s.expected -= count <= s.expected ? count : s.expected;
        arrive(i, l, s, count, op == BarrierOp::drop);
        break;
      case BarrierOp::test_wait:
        passed |= (s.phase != unpack(slot<u64>(w, i.b)[l]).phase ? 1U : 0U) << l;
        return;
      case BarrierOp::test_parity:
        passed |= ((s.phase & 1) != (slot<u32>(w, i.b)[l] & 1) ? 1U : 0U) << l;
        return;
      case BarrierOp::pending_count: return;
    }
    *at = pack(s);
    if (i.d != kNoSlot) {
      slot<u64>(w, i.d)[l] = before;
    }
  });
  if (op == BarrierOp::test_wait || op == BarrierOp::test_parity) {
    set_predicate(w, i.d, passed, mask);
  }
}

// What a state says of the phase it was taken in: arrivals that were still expected, this one too.
void pending_count(Warp& w, const Instr& i, u32 mask) {
  const u64* a = slot<u64>(w, i.a);
  each(slot<u32>(w, i.d), mask, [=](u32 l) { return static_cast<u32>(unpack(a[l]).pending); });
}

}  // namespace

// select: which; from: type of the address.
Handler find_mbarrier(const Key& key) {
  if (key.op != Op::mbarrier) {
    return nullptr;
  }
  if (static_cast<BarrierOp>(key.select) == BarrierOp::pending_count) {
    return pending_count;
  }
  if (key.space != Space::shared) {
    return mbarrier<u64, false>;
  }
  return bytes_of(key.from) == 8 ? mbarrier<u64, true> : mbarrier<u32, true>;
}

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
