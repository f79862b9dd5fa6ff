// SPDX-License-Identifier: Apache-2.0
// Waiting: barriers of the block, which count threads, and operations of named lanes of a warp.
#include <algorithm>
#include <cstring>

#include "runner.h"

namespace phos::sim::ptx {
namespace {

std::uint32_t word(const std::byte* registers, std::uint32_t slot, std::uint32_t lane) {
  // SAFETY: a 32-bit register or constant of the frame.
  std::uint32_t value;
  std::memcpy(&value, registers + slot + 4 * lane, sizeof value);
  return value;
}

void set_word(std::byte* registers, std::uint32_t slot, std::uint32_t lane, std::uint32_t value) {
  std::memcpy(registers + slot + 4 * lane, &value, sizeof value);
}

enum BarrierMode : std::uint32_t { kSync, kArrive, kPopc, kAnd, kOr };

}  // namespace

// Threads are counted. Where a number of threads is given it is one of whole warps, and lanes that
// do not exist or have exited count with the rest of their warp.
bool Runner::try_release(Block& block, std::uint32_t id) {
  Barrier& barrier = block.barriers[id];
  if (barrier.arrived == 0) {
    return false;
  }
  std::uint32_t arrived = barrier.arrived;
  if (barrier.expected != 0) {
    for (std::size_t i = 0; i < block.warps.size(); ++i) {
      const std::uint32_t live = block.warps[i].live;
      if (barrier.lanes[i] != 0 && (live & ~barrier.lanes[i]) == 0) {
        arrived += kLanes - static_cast<std::uint32_t>(__builtin_popcount(barrier.lanes[i]));
      }
    }
  }
  const std::uint32_t expected = barrier.expected != 0 ? barrier.expected : block.live;
  if (arrived < expected) {
    return false;
  }
  for (Warp& warp : block.warps) {
    for (Fragment& f : warp.fragments) {
      if (f.state != FragmentState::at_barrier || f.barrier != id) {
        continue;
      }
      const Instr& instr = *f.at;
      if (instr.target == kPopc) {
        for (std::uint32_t left = f.mask; left != 0 && instr.d != kNoSlot; left &= left - 1) {
          set_word(f.frame->registers, instr.d, static_cast<std::uint32_t>(__builtin_ctz(left)),
                   barrier.votes);
        }
      } else if (instr.target >= kAnd && instr.d != kNoSlot) {
        const bool yes = instr.target == kAnd ? barrier.votes == barrier.voters
                                              : barrier.votes != 0;
        const std::uint32_t old = word(f.frame->registers, instr.d, 0);
        set_word(f.frame->registers, instr.d, 0, yes ? old | f.mask : old & ~f.mask);
      }
      f.state = FragmentState::ready;
    }
  }
  barrier = {};
  return true;
}

bool Runner::release_any(Block& block) {
  bool released = false;
  for (std::uint32_t id = 0; id < kBarriers; ++id) {
    released = try_release(block, id) || released;
  }
  return released;
}

Runner::Next Runner::do_barrier(Warp& warp, Cursor& cursor, const Instr& instr,
                                std::uint32_t mask) {
  const auto first = static_cast<std::uint32_t>(__builtin_ctz(mask));
  const std::uint32_t id = word(warp.frame, instr.a, first);
  if (id >= kBarriers) {
    stop(instr, kErrorIllegalInstruction, first, id, "there are 16 barriers, numbered from 0");
  }
  Block& block = *warp.block;
  Barrier& barrier = block.barriers[id];
  barrier.arrived += static_cast<std::uint32_t>(__builtin_popcount(mask));
  barrier.lanes[warp.id] |= mask;
  if (instr.b != kNoSlot) {
    barrier.expected = word(warp.frame, instr.b, first);
  }
  if (instr.target >= kPopc) {
    std::uint32_t votes = word(warp.frame, instr.c, 0);
    votes = ((instr.flags & kNegateC) != 0 ? ~votes : votes) & mask;
    barrier.votes += static_cast<std::uint32_t>(__builtin_popcount(votes));
    barrier.voters += static_cast<std::uint32_t>(__builtin_popcount(mask));
  }
  const std::uint32_t others = cursor.mask & ~mask;
  ++cursor.pc;
  if (instr.target == kArrive) {
    try_release(block, id);
    return Next::go_on;
  }
  warp.fragments.push_back({.mask = mask, .pc = cursor.pc, .frame = cursor.frame,
                            .state = FragmentState::at_barrier, .barrier = id, .at = &instr,
                            .stamp = ++warp.clock});
  cursor.mask = others;
  if (others != 0) {
    ++cursor.frame->references;
  }
  try_release(block, id);
  if (others == 0) {
    return Next::give_way;
  }
  return settle(warp, cursor) ? Next::go_on : Next::give_way;
}

Runner::Next Runner::do_warp_sync(Warp& warp, Cursor& cursor, const Instr& instr,
                                  std::uint32_t mask) {
  // Lanes of one fragment may form several groups, each naming its own members.
  std::uint32_t left = mask;
  std::uint32_t waiting = 0;
  while (left != 0) {
    const auto lane = static_cast<std::uint32_t>(__builtin_ctz(left));
    const std::uint32_t members = word(warp.frame, instr.e, lane);
    std::uint32_t group = 0;
    for (std::uint32_t other = left; other != 0; other &= other - 1) {
      const auto l = static_cast<std::uint32_t>(__builtin_ctz(other));
      group |= word(warp.frame, instr.e, l) == members ? 1U << l : 0;
    }
    left &= ~group;
    if ((members & warp.live & ~group) == 0) {
      instr.run(warp, instr, group);
      continue;
    }
    waiting |= group;
    warp.fragments.push_back({.mask = group, .pc = cursor.pc, .frame = cursor.frame,
                              .state = FragmentState::at_warp_sync, .barrier = members,
                              .at = &instr, .stamp = ++warp.clock});
    ++cursor.frame->references;
    complete_warp_sync(warp, members, instr, false);
  }
  ++cursor.pc;
  if (waiting == 0) {
    return Next::go_on;
  }
  cursor.mask &= ~waiting;
  if (cursor.mask == 0) {
    --cursor.frame->references;  // its fragments hold it
    return Next::give_way;
  }
  return settle(warp, cursor) ? Next::go_on : Next::give_way;
}

// Runs the operation if all of its members wait for it, wherever in the program they do.
bool Runner::complete_warp_sync(Warp& warp, std::uint32_t members, const Instr& instr,
                                bool force) {
  std::vector<Fragment> group;
  std::uint32_t here = 0;
  for (const Fragment& f : warp.fragments) {
    if (f.state == FragmentState::at_warp_sync && f.barrier == members &&
        f.at->run == instr.run) {
      group.push_back(f);
      here |= f.mask;
    }
  }
  if (!force && (members & warp.live & ~here) != 0) {
    return false;
  }
  const Handler operation = instr.run;
  run_gathered(warp, group, here);
  for (Fragment& f : warp.fragments) {
    if (f.state == FragmentState::at_warp_sync && f.barrier == members &&
        f.at->run == operation) {
      f.state = FragmentState::ready;
      ++f.pc;
    }
  }
  return true;
}

namespace {

// Room for four registers of 64 bits, in the order a, b, c, d, and a predicate.
constexpr std::uint32_t kPlaces[] = {0, 256, 512, 768, 1024};

void move_lanes(std::byte* to, const std::byte* from, std::uint32_t bytes, std::uint32_t lanes) {
  for (; lanes != 0; lanes &= lanes - 1) {
    const auto lane = static_cast<std::uint32_t>(__builtin_ctz(lanes));
    std::memcpy(to + lane * bytes, from + lane * bytes, bytes);
  }
}

void move_predicate(std::byte* to, std::uint32_t to_slot, std::uint32_t bits,
                    std::uint32_t lanes) {
  set_word(to, to_slot, 0, (word(to, to_slot, 0) & ~lanes) | (bits & lanes));
}

void gather(const Fragment& f, std::byte* scratch) {
  const std::byte* registers = f.frame->registers;
  const std::uint32_t sources[] = {f.at->a, f.at->b, f.at->c};
  for (std::size_t k = 0; k < 3; ++k) {
    if (sources[k] == kNoSlot) {
      continue;
    }
    if (k == 0 && (f.at->flags & kPredicateA) != 0) {
      const std::uint32_t bits = word(registers, sources[k], 0);
      move_predicate(scratch, kPlaces[k], (f.at->flags & kNegateA) != 0 ? ~bits : bits, f.mask);
    } else {
      const std::uint32_t bytes = k == 0 && (f.at->flags & kWideA) != 0 ? 8 : 4;
      move_lanes(scratch + kPlaces[k], registers + sources[k], bytes, f.mask);
    }
  }
}

void spread(const Fragment& f, const std::byte* scratch) {
  std::byte* registers = f.frame->registers;
  if (f.at->d != kNoSlot && (f.at->flags & kPredicateD) != 0) {
    move_predicate(registers, f.at->d, word(scratch, kPlaces[3], 0), f.mask);
  } else if (f.at->d != kNoSlot) {
    move_lanes(registers + f.at->d, scratch + kPlaces[3], 4, f.mask);
  }
  if (f.at->d2 != kNoSlot) {
    move_predicate(registers, f.at->d2, word(scratch, kPlaces[4], 0), f.mask);
  }
}

}  // namespace

// Members that wait at different places each have their own operands: these are brought together
// in a frame made up for it, and the results are taken back.
void Runner::run_gathered(Warp& warp, const std::vector<Fragment>& group, std::uint32_t mask) {
  std::byte* const before = warp.frame;
  Frame* const current = warp.current;
  const Instr& first = *group.front().at;
  const bool together = std::all_of(group.begin(), group.end(), [&](const Fragment& f) {
    return f.frame == group.front().frame && f.at == &first;
  });
  if (together) {
    warp.current = group.front().frame;
    warp.frame = warp.current->registers;
    first.run(warp, first, mask);
  } else {
    alignas(64) std::byte scratch[5 * 256] = {};
    for (const Fragment& f : group) {
      gather(f, scratch);
    }
    Instr gathered = first;
    const auto placed = [](std::uint32_t slot, std::size_t place) {
      return slot == kNoSlot ? kNoSlot : kPlaces[place];
    };
    gathered.a = placed(first.a, 0);
    gathered.b = placed(first.b, 1);
    gathered.c = placed(first.c, 2);
    gathered.d = placed(first.d, 3);
    gathered.d2 = placed(first.d2, 4);
    gathered.flags = static_cast<std::uint8_t>(gathered.flags & ~kNegateA);
    warp.frame = scratch;
    first.run(warp, gathered, mask);
    for (const Fragment& f : group) {
      spread(f, scratch);
    }
  }
  warp.frame = before;
  warp.current = current;
}

// When nothing else can run, lanes that wait for others that will never come go on without them.
// Hardware leaves open what happens then; going on is what programs that do this expect.
bool Runner::force_warp_sync(Block& block) {
  for (Warp& warp : block.warps) {
    for (const Fragment& f : warp.fragments) {
      if (f.state == FragmentState::at_warp_sync) {
        return complete_warp_sync(warp, f.barrier, *f.at, true);
      }
    }
  }
  return false;
}

}  // namespace phos::sim::ptx
