// SPDX-License-Identifier: Apache-2.0
// State of a running warp. Lanes that are at the same place in the same call form a fragment;
// fragments run one at a time and merge where they meet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../program.h"

namespace phos::sim::ptx {

struct Block;
class Runner;

// What a memory instruction found last: addresses in [lo, end) lie at address + delta. Empty when
// lo > end.
struct ExtentCache {
  std::uint64_t lo = 1;
  std::uint64_t end = 0;
  std::int64_t delta = 0;
};

struct Frame {
  std::byte* registers = nullptr;
  const CodeFunction* function = nullptr;
  Frame* parent = nullptr;
  const CallSite* site = nullptr;  // in the parent
  std::uint32_t index = 0;         // of the function
  std::uint32_t return_pc = 0;
  std::uint32_t depth = 0;
  std::uint32_t local_base = 0;  // offset of this frame's local variables
  std::uint32_t local_top = 0;   // end of them, alloca included
  std::uint32_t references = 0;  // fragments in it and frames called from it

  explicit Frame(const CodeFunction& code);
  ~Frame();
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
};

enum class FragmentState : std::uint8_t { ready, at_barrier, at_warp_sync };

struct Fragment {
  std::uint32_t mask = 0;
  std::uint32_t pc = 0;
  Frame* frame = nullptr;
  FragmentState state = FragmentState::ready;
  std::uint32_t barrier = 0;
  const Instr* at = nullptr;  // the barrier or warp operation it waits at
  std::uint64_t stamp = 0;    // when it last ran
};

struct Warp {
  // Read by handlers.
  std::byte* frame = nullptr;  // registers of the fragment that runs
  ExtentCache* caches = nullptr;
  std::byte* shared = nullptr;
  std::byte* local = nullptr;
  const std::byte* params = nullptr;
  std::uint32_t shared_bytes = 0;
  std::uint32_t local_stride = 0;  // local memory of one lane; lanes follow each other
  std::uint32_t param_bytes = 0;
  std::uint32_t carry = 0;         // condition code of add.cc and its kin, one bit per lane
  Frame* current = nullptr;
  Runner* runner = nullptr;
  Block* block = nullptr;

  std::uint32_t id = 0;
  std::uint32_t live = 0;          // lanes that have not exited
  std::uint32_t starved = 0;       // backward branches since the fragments last took turns
  std::uint32_t polls = 0;         // backward branches of loops that may wait for others
  std::uint64_t clock = 0;         // counts fragments that ran
  Frame* root = nullptr;
  std::vector<Fragment> fragments;
  std::vector<std::unique_ptr<Frame>> frames;      // all, in use or not
  std::vector<std::vector<Frame*>> spare;          // by function
  std::unique_ptr<std::byte, void (*)(void*)> local_memory{nullptr, nullptr};
};

// Thrown by handlers and by the scheduler; Execution makes a Fault of it.
struct Stop {
  int error = 0;
  std::uint64_t address = 0;
  std::uint32_t lane = 0;
  const Instr* instr = nullptr;
  std::string reason;
};

[[noreturn]] void stop(const Instr& instr, int error, std::uint32_t lane, std::uint64_t address,
                       const char* reason);

enum class Access : std::uint8_t { load, store, atomic };

// Where these bytes of a lane's address space lie. Throws Stop if they do not exist, are not
// aligned to `align`, or must not be written. Fills the instruction's cache.
std::byte* reach(Warp& warp, const Instr& instr, std::uint32_t lane, std::uint64_t address,
                 std::uint32_t bytes, std::uint32_t align, Access access);
// As above for offsets inside of shared memory, of local memory and of the parameter buffer.
std::byte* reach_shared(Warp& warp, const Instr& instr, std::uint32_t lane, std::uint64_t address,
                        std::uint32_t bytes, std::uint32_t align);
std::byte* reach_local(Warp& warp, const Instr& instr, std::uint32_t lane, std::uint64_t address,
                       std::uint32_t bytes, std::uint32_t align);
const std::byte* reach_param(Warp& warp, const Instr& instr, std::uint32_t lane,
                             std::uint64_t address, std::uint32_t bytes, std::uint32_t align);
// True if one extent holds [lo, end); the instruction's cache then holds it.
bool refill(Warp& warp, const Instr& instr, std::uint64_t lo, std::uint64_t end, Access access);

std::uint64_t clock_now(const Warp& warp);
std::uint64_t time_now(const Warp& warp);

}  // namespace phos::sim::ptx
