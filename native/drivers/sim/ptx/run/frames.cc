// SPDX-License-Identifier: Apache-2.0
// Frames of calls: their registers, and the values that they are given when they are set up.
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

#include "runner.h"

namespace phos::sim::ptx {
namespace {

// Of a fixed size, so that the compiler makes wide stores of it: every block sets some of these.
template <class T>
void fill_with(std::byte* at, T value) {
  T lanes[kLanes];
  std::fill(std::begin(lanes), std::end(lanes), value);
  std::memcpy(at, lanes, sizeof lanes);
}

void fill_lanes(std::byte* at, std::uint32_t bytes, std::uint64_t value) {
  switch (bytes) {
    case 1: fill_with(at, static_cast<std::uint8_t>(value)); break;
    case 2: fill_with(at, static_cast<std::uint16_t>(value)); break;
    case 4: fill_with(at, static_cast<std::uint32_t>(value)); break;
    default: fill_with(at, value); break;
  }
}

bool differs_between_lanes(Special special) {
  switch (special) {
    case Special::tid_x:
    case Special::tid_y:
    case Special::tid_z:
    case Special::laneid:
    case Special::lanemask_eq:
    case Special::lanemask_le:
    case Special::lanemask_lt:
    case Special::lanemask_ge:
    case Special::lanemask_gt: return true;
    default: return false;
  }
}

bool differs_between_blocks(Special special) {
  return special == Special::ctaid_x || special == Special::ctaid_y ||
         special == Special::ctaid_z || special == Special::smid;
}

}  // namespace

Frame::Frame(const CodeFunction& code) : function(&code) {
  const std::size_t bytes = std::max<std::size_t>(code.image.size(), 64);
  registers = static_cast<std::byte*>(std::aligned_alloc(64, bytes));
  if (registers == nullptr) {
    throw std::bad_alloc();
  }
  std::memcpy(registers, code.image.data(), code.image.size());
}

Frame::~Frame() { std::free(registers); }

Dim3 Runner::thread_of(const Warp& warp, std::uint32_t lane) const noexcept {
  const std::uint32_t linear = warp.id * kLanes + lane;
  const Dim3& block = config_.block;
  return {linear % block.x, linear / block.x % block.y, linear / block.x / block.y};
}

std::uint64_t Runner::special_value(const Warp& warp, Special special, std::uint32_t lane) const {
  const Dim3& id = warp.block->id;
  const std::uint32_t bit = 1U << lane;
  const Dim3 thread = thread_of(warp, lane);
  switch (special) {
    case Special::tid_x: return thread.x;
    case Special::tid_y: return thread.y;
    case Special::tid_z: return thread.z;
    case Special::ntid_x: return config_.block.x;
    case Special::ntid_y: return config_.block.y;
    case Special::ntid_z: return config_.block.z;
    case Special::ctaid_x: return id.x;
    case Special::ctaid_y: return id.y;
    case Special::ctaid_z: return id.z;
    case Special::nctaid_x: return config_.grid.x;
    case Special::nctaid_y: return config_.grid.y;
    case Special::nctaid_z: return config_.grid.z;
    case Special::laneid: return lane;
    case Special::warpid: return warp.id;
    case Special::nwarpid: return (config_.block.count() + kLanes - 1) / kLanes;
    case Special::smid: return warp.block->linear % config_.multiprocessors;
    case Special::nsmid: return config_.multiprocessors;
    case Special::gridid: return config_.grid_id;
    case Special::lanemask_eq: return bit;
    case Special::lanemask_le: return bit | (bit - 1);
    case Special::lanemask_lt: return bit - 1;
    case Special::lanemask_ge: return ~(bit - 1);
    case Special::lanemask_gt: return ~(bit | (bit - 1));
    case Special::dynamic_smem_size: return config_.dynamic_shared_bytes;
    case Special::total_smem_size:
    case Special::aggr_smem_size: return shared_bytes_;
    case Special::envreg_high: return workspace_ >> 32;
    case Special::envreg_low: return workspace_ & 0xffffffffU;
    case Special::one: return 1;
    case Special::zero: return 0;
  }
  return 0;
}

void Runner::set_specials(const Warp& warp, Frame& frame, Change change) {
  for (const SpecialSlot& slot : frame.function->specials) {
    const bool by_lane = differs_between_lanes(slot.special);
    const bool by_block = differs_between_blocks(slot.special);
    if ((change == Change::block && !by_block) || (change == Change::launch && by_lane)) {
      continue;
    }
    std::byte* at = frame.registers + slot.slot;
    if (!by_lane) {
      fill_lanes(at, slot.bytes, special_value(warp, slot.special, 0));
      continue;
    }
    for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t value = special_value(warp, slot.special, lane);
      std::memcpy(at + lane * slot.bytes, &value, slot.bytes);
    }
  }
}

void Runner::set_parameters(Frame& frame) {
  for (const ParameterSlot& slot : frame.function->parameters) {
    std::uint64_t value = 0;
    std::memcpy(&value, parameters_.data() + slot.offset, slot.bytes);
    if (slot.sign_extend && slot.bytes < 8) {
      const std::uint32_t shift = 64 - 8U * slot.bytes;
      value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value << shift) >> shift);
    }
    fill_lanes(frame.registers + slot.slot, slot.lane_bytes, value);
  }
}

void Runner::set_local_addresses(Frame& frame) {
  for (const AddressSlot& slot : frame.function->addresses) {
    std::uint64_t value = static_cast<std::uint64_t>(slot.addend);
    if (slot.of == AddressSlot::Of::local) {
      value += frame.local_base;
    } else if (slot.of == AddressSlot::Of::dynamic_shared) {
      const std::uint64_t align = std::max(slot.index, 16U);
      value += (kernel_.static_shared_bytes + align - 1) / align * align;
    } else {
      continue;
    }
    fill_lanes(frame.registers + slot.slot, slot.bytes, value);
  }
}

void Runner::provide_local_memory(Warp& warp, const Instr* instr, std::uint32_t lane,
                                  std::uint32_t top) {
  if (top > local_stride_) {
    throw Stop{kErrorLaunchFailed, 0, lane, instr, "the stack of a thread is full"};
  }
  if (warp.local == nullptr) {
    // Untouched pages of a large block cost nothing.
    warp.local_memory = {static_cast<std::byte*>(std::calloc(kLanes, local_stride_)), std::free};
    if (warp.local_memory == nullptr) {
      throw std::bad_alloc();
    }
    warp.local = warp.local_memory.get();
    warp.local_stride = local_stride_;
  }
}

Frame* Runner::acquire(Warp& warp, std::uint32_t function, Frame* parent) {
  if (warp.spare.size() <= function) {
    warp.spare.resize(program_.functions.size());
  }
  const CodeFunction& code = program_.functions[function];
  Frame* frame = nullptr;
  if (!warp.spare[function].empty()) {
    frame = warp.spare[function].back();
    warp.spare[function].pop_back();
  } else {
    warp.frames.push_back(std::make_unique<Frame>(code));
    frame = warp.frames.back().get();
    frame->index = function;
  }
  frame->parent = parent;
  frame->depth = parent == nullptr ? 0 : parent->depth + 1;
  frame->local_base = parent == nullptr ? 0 : (parent->local_top + 15U) & ~15U;
  frame->local_top = frame->local_base + code.local_bytes;
  frame->references = 0;
  set_local_addresses(*frame);
  return frame;
}

void Runner::release(Warp& warp, Frame* frame) {
  while (frame != nullptr && --frame->references == 0 && frame != warp.root) {
    warp.spare[frame->index].push_back(frame);
    frame = frame->parent;
  }
}

}  // namespace phos::sim::ptx
