// SPDX-License-Identifier: Apache-2.0
// Runs one launch on one thread: resident blocks, their warps, and the fragments of each warp.
//
// Fragments: the deepest call goes first, and in it the lowest instruction, which brings lanes that
// diverged back together without any analysis of the program. A fragment that waits too long
// gets its turn all the same, so lanes that wait for each other make progress (as on hardware since
// Volta). The same holds for warps of a block and for blocks of a grid.
#pragma once

#include <memory>
#include <vector>

#include "../../memory/address_space.h"
#include "../execution.h"
#include "crew.h"
#include "warp.h"

namespace phos::sim::ptx {

inline constexpr std::uint32_t kBarriers = 16;

struct Barrier {
  std::uint32_t arrived = 0;   // threads
  std::uint32_t expected = 0;  // 0: all living threads of the block
  std::uint32_t votes = 0;     // threads whose predicate held
  std::uint32_t voters = 0;
  std::uint32_t lanes[32] = {};  // that arrived, by warp
};

struct Block {
  Dim3 id;
  std::uint64_t linear = 0;
  std::vector<Warp> warps;
  std::unique_ptr<std::byte, void (*)(void*)> shared{nullptr, nullptr};
  std::uint32_t live = 0;       // threads that have not exited
  std::uint32_t next_warp = 0;  // where the next round goes on
  std::uint32_t idle_rounds = 0;
  Barrier barriers[kBarriers];
};

class Runner {
 public:
  Runner(const Program& program, std::uint32_t kernel);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  void begin(AddressSpace& memory, Services& services, const LaunchConfig& config,
             std::uint64_t workspace, BlockFeed* feed = nullptr);
  // True if other runners may take blocks of the same grid: see may_spread().
  bool spreads() const noexcept { return spreads_; }
  // Throws Stop; current_warp() then tells who was running.
  Step step(std::uint64_t quantum);
  // Forgets what is resident, so that the runner can be used again.
  void end();

  const Warp* current_warp() const noexcept { return running_; }
  Counters counters() const noexcept { return counters_; }
  // Instructions that have run, those of the current step included.
  std::uint64_t clock() const noexcept {
    return counters_.warp_instructions + static_cast<std::uint64_t>(quantum_ - budget_);
  }
  AddressSpace& memory() const noexcept { return *memory_; }
  Services& services() const noexcept { return *services_; }
  const LaunchConfig& config() const noexcept { return config_; }
  const CodeFunction& kernel() const noexcept { return kernel_; }
  Dim3 thread_of(const Warp& warp, std::uint32_t lane) const noexcept;

 private:
  enum class Outcome : std::uint8_t { done, blocked, paused, polling };
  // The fragment that runs, taken out of the warp's list.
  struct Cursor {
    std::uint32_t mask = 0;
    std::uint32_t pc = 0;
    std::uint32_t stop = 0;  // where another fragment of the same call waits
    std::uint32_t turns = 0;  // backward branches left before a fair turn ends; 0: not a fair turn
    Frame* frame = nullptr;
    const Instr* code = nullptr;
  };
  enum class Next : std::uint8_t { go_on, give_way, pause, poll };

  // grid.cc
  bool admit();  // false: every block has been started
  void recycle(std::unique_ptr<Block> block);
  std::unique_ptr<Block> make_block();
  void start_block(Block& block, std::uint64_t linear);
  std::uint64_t ordered(std::uint64_t position);
  Outcome run_block(Block& block);
  // frames.cc
  Frame* acquire(Warp& warp, std::uint32_t function, Frame* parent);
  void release(Warp& warp, Frame* frame);
  // What a special register may differ in from when the frame was last set.
  enum class Change : std::uint8_t { all, launch, block };
  void set_specials(const Warp& warp, Frame& frame, Change change);
  void set_parameters(Frame& frame);
  void set_local_addresses(Frame& frame);
  std::uint64_t special_value(const Warp& warp, Special special, std::uint32_t lane) const;
  void provide_local_memory(Warp& warp, const Instr* instr, std::uint32_t lane,
                            std::uint32_t top);
  // schedule.cc
  Outcome run_warp(Warp& warp);
  bool choose(Warp& warp, Cursor& cursor);
  bool settle(Warp& warp, Cursor& cursor);
  void enter(Warp& warp, Cursor& cursor, Frame* frame);
  Next run_fragment(Warp& warp, Cursor& cursor);
  void put_away(Warp& warp, const Cursor& cursor);
  void add_fragment(Warp& warp, Frame* frame, std::uint32_t mask, std::uint32_t pc);
  Next backward(Warp& warp, Cursor& cursor, const Instr& instr);
  // control.cc
  Next control(Warp& warp, Cursor& cursor, const Instr& instr, std::uint32_t mask);
  Next do_branch(Warp& warp, Cursor& cursor, const Instr& instr, std::uint32_t mask);
  Next do_indexed(Warp& warp, Cursor& cursor, const Instr& instr, std::uint32_t mask);
  Next do_call(Warp& warp, Cursor& cursor, const Instr& instr, std::uint32_t mask);
  Next do_return(Warp& warp, Cursor& cursor, std::uint32_t mask);
  Next do_exit(Warp& warp, Cursor& cursor, std::uint32_t mask);
  void copy_values(Warp& warp, std::uint32_t mask, const Frame& from, const ParamPlace& source,
                   const Frame& to, const ParamPlace& target);
  // sync.cc
  Next do_barrier(Warp& warp, Cursor& cursor, const Instr& instr, std::uint32_t mask);
  bool try_release(Block& block, std::uint32_t id);
  bool release_any(Block& block);
  Next do_warp_sync(Warp& warp, Cursor& cursor, const Instr& instr, std::uint32_t mask);
  bool complete_warp_sync(Warp& warp, std::uint32_t members, const Instr& instr, bool force);
  bool force_warp_sync(Block& block);
  void run_gathered(Warp& warp, const std::vector<Fragment>& group, std::uint32_t mask);
  // external.cc
  void do_external(Warp& warp, const Cursor& cursor, const Instr& instr, std::uint32_t mask);

  void flush_caches();

  const Program& program_;
  const CodeFunction& kernel_;
  std::uint32_t kernel_index_ = 0;
  std::vector<ExtentCache> caches_;
  std::uint64_t generation_ = 0;
  AddressSpace* memory_ = nullptr;
  Services* services_ = nullptr;
  LaunchConfig config_;
  std::vector<std::byte> parameters_;
  std::uint64_t workspace_ = 0;
  std::uint32_t shared_bytes_ = 0;
  std::uint32_t shared_capacity_ = 0;
  std::uint32_t local_stride_ = 0;
  Dim3 shape_{0, 0, 0};  // of the blocks that are kept
  BlockFeed own_feed_;
  BlockFeed* feed_ = &own_feed_;
  bool spreads_ = false;
  std::uint64_t total_ = 0;
  std::size_t turn_ = 0;
  std::size_t polled_ = 0;  // blocks in a row that only polled
  std::vector<std::unique_ptr<Block>> resident_;
  std::vector<std::unique_ptr<Block>> spare_;
  std::vector<std::uint32_t> window_;  // of the seeded order
  std::uint64_t window_start_ = 0;
  std::int64_t budget_ = 0;
  std::int64_t quantum_ = 0;
  Counters counters_;
  const Warp* running_ = nullptr;
};

}  // namespace phos::sim::ptx
