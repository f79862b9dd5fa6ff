// SPDX-License-Identifier: Apache-2.0
// Branches, calls and returns. A cursor whose mask is empty when it gives way has left nothing
// behind: its lanes are in other fragments, or have exited, and so has its reference to the frame.
#include <cstring>

#include "runner.h"

namespace phos::sim::ptx {

Runner::Next Runner::control(Warp& warp, Cursor& cursor, const Instr& instr, std::uint32_t mask) {
  switch (instr.kind) {
    case Kind::branch: return do_branch(warp, cursor, instr, mask);
    case Kind::branch_indexed: return do_indexed(warp, cursor, instr, mask);
    case Kind::call: return do_call(warp, cursor, instr, mask);
    case Kind::ret: return do_return(warp, cursor, mask);
    case Kind::exit: return do_exit(warp, cursor, mask);
    case Kind::barrier: return do_barrier(warp, cursor, instr, mask);
    case Kind::warp_sync: return do_warp_sync(warp, cursor, instr, mask);
    case Kind::external:
      do_external(warp, cursor, instr, mask);
      flush_caches();
      ++cursor.pc;
      return Next::go_on;
    case Kind::yield: {
      ++cursor.pc;
      if (!warp.fragments.empty()) {
        warp.starved = 0x10000;
      }
      return budget_ <= 0 ? Next::pause : Next::poll;
    }
    case Kind::trap:
      stop(instr, kErrorLaunchFailed, static_cast<std::uint32_t>(__builtin_ctz(mask)), 0,
           "the kernel executed a trap");
    case Kind::brkpt:
      stop(instr, kErrorLaunchFailed, static_cast<std::uint32_t>(__builtin_ctz(mask)), 0,
           "the kernel executed a breakpoint, and there is no debugger");
    case Kind::plain: break;
  }
  return Next::go_on;
}

Runner::Next Runner::do_branch(Warp& warp, Cursor& cursor, const Instr& instr,
                               std::uint32_t mask) {
  const bool back = instr.target <= cursor.pc;
  if (mask != cursor.mask) {
    // Lanes that fall through and lanes that jump: the lower place goes first.
    const std::uint32_t others = cursor.mask & ~mask;
    if (back) {
      add_fragment(warp, cursor.frame, others, cursor.pc + 1);
      cursor.mask = mask;
      cursor.pc = instr.target;
    } else {
      add_fragment(warp, cursor.frame, mask, instr.target);
      cursor.mask = others;
      ++cursor.pc;
    }
  } else {
    cursor.pc = instr.target;
  }
  if (back) {
    const Next next = backward(warp, cursor, instr);
    if (next != Next::go_on) {
      return next;
    }
  }
  if (!warp.fragments.empty() && !settle(warp, cursor)) {
    return Next::give_way;
  }
  return Next::go_on;
}

Runner::Next Runner::do_indexed(Warp& warp, Cursor& cursor, const Instr& instr,
                                std::uint32_t mask) {
  if (cursor.mask != mask) {
    add_fragment(warp, cursor.frame, cursor.mask & ~mask, cursor.pc + 1);
  }
  // SAFETY: the slot of a 32-bit register of this frame.
  std::uint32_t index[kLanes];
  std::memcpy(index, warp.frame + instr.a, sizeof index);
  const auto* targets = cursor.frame->function->extra.data() + instr.target;
  bool back = false;
  for (std::uint32_t left = mask; left != 0;) {
    const auto lane = static_cast<std::uint32_t>(__builtin_ctz(left));
    if (index[lane] >= instr.imm) {
      stop(instr, kErrorIllegalInstruction, lane, index[lane],
           "the index of a branch is beyond its list of targets");
    }
    std::uint32_t same = 0;
    for (std::uint32_t other = left; other != 0; other &= other - 1) {
      const auto l = static_cast<std::uint32_t>(__builtin_ctz(other));
      same |= index[l] == index[lane] ? 1U << l : 0;
    }
    back = back || targets[index[lane]] <= cursor.pc;
    add_fragment(warp, cursor.frame, same, targets[index[lane]]);
    left &= ~same;
  }
  --cursor.frame->references;
  cursor.mask = 0;
  return back && budget_ <= 0 ? Next::pause : Next::give_way;
}

void Runner::copy_values(Warp& warp, std::uint32_t mask, const Frame& from,
                         const ParamPlace& source, const Frame& to, const ParamPlace& target) {
  if (source.slot == kNoSlot || target.slot == kNoSlot) {
    return;
  }
  const std::uint32_t bytes = source.bytes < target.bytes ? source.bytes : target.bytes;
  // SAFETY: places were laid out inside of the frames; local ones inside of the stack, which
  // provide_local_memory() has checked to hold both frames.
  const auto place = [&](const Frame& frame, const ParamPlace& at, std::uint32_t lane) {
    return at.local ? warp.local + std::uint64_t{lane} * warp.local_stride + frame.local_base +
                          at.slot
                    : frame.registers + at.slot + std::uint64_t{lane} * at.bytes;
  };
  for (; mask != 0; mask &= mask - 1) {
    const auto lane = static_cast<std::uint32_t>(__builtin_ctz(mask));
    std::memcpy(place(to, target, lane), place(from, source, lane), bytes);
  }
}

Runner::Next Runner::do_call(Warp& warp, Cursor& cursor, const Instr& instr, std::uint32_t mask) {
  const CallSite& site = cursor.frame->function->calls[instr.target];
  const auto first = static_cast<std::uint32_t>(__builtin_ctz(mask));
  std::uint32_t function = site.function;
  std::uint32_t here = mask;
  if (site.indirect) {
    std::uint64_t pointers[kLanes];
    std::memcpy(pointers, warp.frame + site.pointer, sizeof pointers);
    const std::uint64_t wanted = pointers[first];
    const std::uint64_t offset = wanted - program_.function_base;
    if (offset % kFunctionStride != 0 || offset / kFunctionStride >= program_.functions.size() ||
        !program_.functions[offset / kFunctionStride].defined ||
        program_.functions[offset / kFunctionStride].entry) {
      stop(instr, kErrorInvalidPc, first, wanted, "the pointer does not lead to a function");
    }
    function = static_cast<std::uint32_t>(offset / kFunctionStride);
    here = 0;
    for (std::uint32_t left = mask; left != 0; left &= left - 1) {
      const auto lane = static_cast<std::uint32_t>(__builtin_ctz(left));
      here |= pointers[lane] == wanted ? 1U << lane : 0;
    }
  }
  if (cursor.mask != mask) {
    add_fragment(warp, cursor.frame, cursor.mask & ~mask, cursor.pc + 1);
  }
  if (here != mask) {
    add_fragment(warp, cursor.frame, mask & ~here, cursor.pc);
  }
  const CodeFunction& code = program_.functions[function];
  if (cursor.frame->depth >= 4096) {
    stop(instr, kErrorLaunchFailed, first, 0, "calls are nested too deeply");
  }
  Frame* caller = cursor.frame;
  Frame* frame = acquire(warp, function, caller);
  // What a call takes of the stack even without local variables, so that endless recursion ends.
  frame->local_top += 32;
  provide_local_memory(warp, &instr, first, frame->local_top);
  set_specials(warp, *frame, Change::all);
  frame->site = &site;
  frame->return_pc = cursor.pc + 1;
  frame->references = 1;  // the cursor's; its reference to the caller becomes the frame's
  const std::size_t count = std::min(site.arguments.size(), code.param_places.size());
  for (std::size_t i = 0; i < count; ++i) {
    copy_values(warp, here, *caller, site.arguments[i], *frame, code.param_places[i]);
  }
  cursor.mask = here;
  cursor.pc = 0;
  enter(warp, cursor, frame);
  if (budget_ <= 0) {
    return Next::pause;
  }
  cursor.stop = 0xffffffffU;
  return Next::go_on;
}

Runner::Next Runner::do_return(Warp& warp, Cursor& cursor, std::uint32_t mask) {
  Frame* frame = cursor.frame;
  Frame* caller = frame->parent;
  const std::size_t count =
      std::min(frame->site->results.size(), frame->function->return_places.size());
  for (std::size_t i = 0; i < count; ++i) {
    copy_values(warp, mask, *frame, frame->function->return_places[i], *caller,
                frame->site->results[i]);
  }
  const std::uint32_t pc = frame->return_pc;
  ++caller->references;
  cursor.mask &= ~mask;
  if (cursor.mask != 0) {
    warp.fragments.push_back(
        {.mask = mask, .pc = pc, .frame = caller, .stamp = ++warp.clock});
    ++cursor.pc;
    return Next::go_on;
  }
  release(warp, frame);
  cursor.mask = mask;
  cursor.pc = pc;
  enter(warp, cursor, caller);
  cursor.stop = 0xffffffffU;
  if (!warp.fragments.empty() && !settle(warp, cursor)) {
    return Next::give_way;
  }
  return Next::go_on;
}

Runner::Next Runner::do_exit(Warp& warp, Cursor& cursor, std::uint32_t mask) {
  warp.live &= ~mask;
  warp.block->live -= static_cast<std::uint32_t>(__builtin_popcount(mask));
  cursor.mask &= ~mask;
  if (cursor.mask != 0) {
    ++cursor.pc;
    return Next::go_on;
  }
  release(warp, cursor.frame);
  // Lanes that waited for these are complete now.
  for (std::size_t i = 0; i < warp.fragments.size(); ++i) {
    const Fragment& waiting = warp.fragments[i];
    if (waiting.state == FragmentState::at_warp_sync &&
        complete_warp_sync(warp, waiting.barrier, *waiting.at, false)) {
      break;
    }
  }
  return Next::give_way;
}

}  // namespace phos::sim::ptx
