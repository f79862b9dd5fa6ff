// SPDX-License-Identifier: Apache-2.0
// Which fragment of a warp runs, and for how long.
#include <algorithm>

#include "runner.h"

namespace phos::sim::ptx {
namespace {

// A fragment that waits is given its turn after this many backward branches of others; branches
// of loops that may be waiting for it count more.
constexpr std::uint32_t kPatience = 4096;
constexpr std::uint32_t kSpinWeight = 128;
constexpr std::uint32_t kFairTurn = 64;
// A warp whose loops may be waiting for other warps lets them run after this many rounds.
constexpr std::uint32_t kPolls = 64;

bool goes_before(const Fragment& a, const Fragment& b) {
  return a.frame->depth != b.frame->depth ? a.frame->depth > b.frame->depth : a.pc < b.pc;
}

}  // namespace

void Runner::add_fragment(Warp& warp, Frame* frame, std::uint32_t mask, std::uint32_t pc) {
  warp.fragments.push_back({.mask = mask, .pc = pc, .frame = frame, .stamp = ++warp.clock});
  ++frame->references;
}

// The cursor's own reference to its frame passes to the list.
void Runner::put_away(Warp& warp, const Cursor& cursor) {
  warp.fragments.push_back(
      {.mask = cursor.mask, .pc = cursor.pc, .frame = cursor.frame, .stamp = ++warp.clock});
}

void Runner::enter(Warp& warp, Cursor& cursor, Frame* frame) {
  cursor.frame = frame;
  cursor.code = frame->function->code.data();
  warp.current = frame;
  warp.frame = frame->registers;
}

// Takes in fragments that are at the same place, and finds where the next one waits. False if one
// of the others should run first.
bool Runner::settle(Warp& warp, Cursor& cursor) {
  cursor.stop = 0xffffffffU;
  bool first = true;
  for (std::size_t i = 0; i < warp.fragments.size();) {
    Fragment& other = warp.fragments[i];
    if (other.state != FragmentState::ready) {
      ++i;
      continue;
    }
    if (other.frame == cursor.frame) {
      if (other.pc == cursor.pc) {
        cursor.mask |= other.mask;
        --cursor.frame->references;
        other = warp.fragments.back();
        warp.fragments.pop_back();
        continue;
      }
      if (other.pc > cursor.pc) {
        cursor.stop = std::min(cursor.stop, other.pc);
      } else {
        first = false;
      }
    } else if (other.frame->depth > cursor.frame->depth ||
               (other.frame->depth == cursor.frame->depth && other.pc < cursor.pc)) {
      first = false;
    }
    ++i;
  }
  return first || cursor.turns != 0;
}

bool Runner::choose(Warp& warp, Cursor& cursor) {
  std::vector<Fragment>& fragments = warp.fragments;
  const bool fair = warp.starved >= kPatience;
  std::size_t best = fragments.size();
  for (std::size_t i = 0; i < fragments.size(); ++i) {
    if (fragments[i].state != FragmentState::ready) {
      continue;
    }
    if (best == fragments.size() ||
        (fair ? fragments[i].stamp < fragments[best].stamp
              : goes_before(fragments[i], fragments[best]))) {
      best = i;
    }
  }
  if (best == fragments.size()) {
    return false;
  }
  if (fair) {
    warp.starved = 0;
  }
  cursor.mask = fragments[best].mask;
  cursor.pc = fragments[best].pc;
  cursor.turns = fair ? kFairTurn : 0;
  enter(warp, cursor, fragments[best].frame);
  fragments[best] = fragments.back();
  fragments.pop_back();
  if (fragments.empty()) {
    cursor.stop = 0xffffffffU;
    cursor.turns = 0;
  } else {
    settle(warp, cursor);
  }
  return true;
}

// After a jump back: who else may want to run now?
Runner::Next Runner::backward(Warp& warp, Cursor& cursor, const Instr& instr) {
  if (budget_ <= 0) {
    return Next::pause;
  }
  const bool spins = (instr.flags & kSpins) != 0;
  if (!warp.fragments.empty()) {
    if (cursor.turns != 0) {
      if (--cursor.turns == 0) {
        return Next::give_way;
      }
    } else {
      warp.starved += spins ? kSpinWeight : 1;
      if (warp.starved >= kPatience) {
        return Next::give_way;
      }
    }
  }
  if (spins && ++warp.polls >= kPolls) {
    warp.polls = 0;
    return Next::poll;
  }
  return Next::go_on;
}

Runner::Next Runner::run_fragment(Warp& warp, Cursor& cursor) {
  for (;;) {
    const Instr* instr = cursor.code + cursor.pc;
    std::uint32_t run = instr->straight;
    if (run != 0) {
      run = std::min(run, cursor.stop - cursor.pc);
      const Instr* end = instr + run;
      const std::uint32_t mask = cursor.mask;
      do {
        instr->run(warp, *instr, mask);
        ++instr;
      } while (instr != end);
      budget_ -= run;
      cursor.pc += run;
      if (cursor.pc == cursor.stop && !settle(warp, cursor)) {
        return Next::give_way;
      }
      continue;
    }
    std::uint32_t mask = cursor.mask;
    if (instr->guard != kNoSlot) {
      std::uint32_t guard;
      __builtin_memcpy(&guard, warp.frame + instr->guard, sizeof guard);
      mask &= (instr->flags & kGuardNegated) != 0 ? ~guard : guard;
    }
    --budget_;
    if (instr->kind == Kind::plain) {
      if (mask != 0) {
        instr->run(warp, *instr, mask);
      }
      ++cursor.pc;
    } else if (mask == 0) {
      ++cursor.pc;
    } else {
      const Next next = control(warp, cursor, *instr, mask);
      if (next != Next::go_on) {
        return next;
      }
    }
    if (cursor.pc == cursor.stop && !settle(warp, cursor)) {
      return Next::give_way;
    }
  }
}

Runner::Outcome Runner::run_warp(Warp& warp) {
  Cursor cursor;
  while (choose(warp, cursor)) {
    const Next next = run_fragment(warp, cursor);
    if (cursor.mask != 0) {
      put_away(warp, cursor);
    }
    if (next == Next::pause) {
      return Outcome::paused;
    }
    if (next == Next::poll) {
      return Outcome::polling;
    }
  }
  return warp.fragments.empty() ? Outcome::done : Outcome::blocked;
}

}  // namespace phos::sim::ptx
