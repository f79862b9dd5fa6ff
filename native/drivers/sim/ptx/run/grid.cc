// SPDX-License-Identifier: Apache-2.0
// Blocks of a grid: which are resident, and whose turn it is.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "runner.h"

namespace phos::sim::ptx {
namespace {

// Blocks that only poll let others in, up to this many.
constexpr std::size_t kMaxResident = 256;
constexpr std::uint32_t kOrderWindow = 64;
constexpr std::uint32_t kIdleRounds = 8;

std::uint64_t mixed(std::uint64_t x) {  // the finaliser of splitmix64
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

Runner::Runner(const Program& program, std::uint32_t kernel)
    : program_(program), kernel_(program.functions[program.kernel_functions[kernel]]),
      kernel_index_(program.kernel_functions[kernel]), caches_(program.cache_count),
      spreads_(may_spread(program, kernel_index_)) {}

Runner::~Runner() = default;

void Runner::flush_caches() {
  const std::uint64_t now = memory_->generation();
  if (generation_ != now) {
    std::fill(caches_.begin(), caches_.end(), ExtentCache{});
    generation_ = now;
  }
}

void Runner::begin(AddressSpace& memory, Services& services, const LaunchConfig& config,
                   std::uint64_t workspace, BlockFeed* feed) {
  if (memory_ != &memory) {
    generation_ = 0;
  }
  memory_ = &memory;
  services_ = &services;
  config_ = config;
  workspace_ = workspace;
  parameters_.assign(config.parameters.begin(), config.parameters.end());
  config_.parameters = parameters_;
  const std::uint32_t dynamic_start = (kernel_.static_shared_bytes + 15U) & ~15U;
  shared_bytes_ = config.dynamic_shared_bytes == 0
                      ? kernel_.static_shared_bytes
                      : dynamic_start + config.dynamic_shared_bytes;
  const std::uint32_t stride =
      (std::max(config.stack_bytes, 1024U) + kernel_.local_bytes + 63U) & ~63U;
  if (shape_ != config.block || shared_bytes_ > shared_capacity_ || stride != local_stride_) {
    spare_.clear();
    shape_ = config.block;
    shared_capacity_ = shared_bytes_;
    local_stride_ = stride;
  }
  for (const auto& block : spare_) {
    for (Warp& warp : block->warps) {
      set_specials(warp, *warp.root, Change::launch);
      set_parameters(*warp.root);
    }
  }
  own_feed_.next.store(0, std::memory_order_relaxed);
  feed_ = feed != nullptr ? feed : &own_feed_;
  total_ = config.grid.count();
  turn_ = polled_ = 0;
  window_.clear();
  counters_ = {};
}

void Runner::end() {
  for (auto& block : resident_) {
    recycle(std::move(block));
  }
  resident_.clear();
  running_ = nullptr;
}

std::unique_ptr<Block> Runner::make_block() {
  auto block = std::make_unique<Block>();
  const auto threads = static_cast<std::uint32_t>(config_.block.count());
  block->warps.resize((threads + kLanes - 1) / kLanes);
  block->shared = {static_cast<std::byte*>(std::aligned_alloc(64, (shared_capacity_ + 127U) &
                                                                      ~63U)), std::free};
  if (block->shared == nullptr) {
    throw std::bad_alloc();
  }
  for (std::uint32_t id = 0; id < block->warps.size(); ++id) {
    Warp& warp = block->warps[id];
    warp.id = id;
    warp.runner = this;
    warp.block = block.get();
    warp.root = acquire(warp, kernel_index_, nullptr);
    set_specials(warp, *warp.root, Change::all);
    set_parameters(*warp.root);
  }
  return block;
}

void Runner::start_block(Block& block, std::uint64_t linear) {
  const Dim3& grid = config_.grid;
  block.linear = linear;
  block.id = {static_cast<std::uint32_t>(linear % grid.x),
              static_cast<std::uint32_t>(linear / grid.x % grid.y),
              static_cast<std::uint32_t>(linear / grid.x / grid.y)};
  block.live = static_cast<std::uint32_t>(config_.block.count());
  block.next_warp = block.idle_rounds = 0;
  if (shared_bytes_ != 0) {
    std::memset(block.shared.get(), 0, shared_bytes_);
  }
  for (Barrier& barrier : block.barriers) {
    if (barrier.arrived != 0) {
      barrier = {};
    }
  }
  std::uint32_t left = block.live;
  for (Warp& warp : block.warps) {
    const std::uint32_t lanes = std::min(left, kLanes);
    left -= lanes;
    warp.caches = caches_.data();
    warp.shared = block.shared.get();
    warp.shared_bytes = shared_bytes_;
    warp.params = parameters_.data();
    warp.param_bytes = static_cast<std::uint32_t>(parameters_.size());
    warp.live = lanes == kLanes ? kFullMask : (1U << lanes) - 1;
    warp.starved = warp.polls = warp.carry = 0;
    warp.fragments.clear();
    set_specials(warp, *warp.root, Change::block);
    warp.root->local_top = kernel_.local_bytes;
    warp.root->references = 1;
    warp.fragments.push_back({.mask = warp.live, .pc = 0, .frame = warp.root});
    if (kernel_.local_bytes != 0) {
      provide_local_memory(warp, nullptr, 0, kernel_.local_bytes);
    }
  }
}

// Position in the launch order to linear block index. With a seed, windows of 64 blocks are
// shuffled: far enough to show what depends on the order, near enough for blocks that wait
// for their predecessors.
std::uint64_t Runner::ordered(std::uint64_t position) {
  if (config_.order_seed == 0) {
    return position;
  }
  const std::uint64_t start = position / kOrderWindow * kOrderWindow;
  if (window_.empty() || start != window_start_) {
    window_start_ = start;
    window_.resize(std::min<std::uint64_t>(kOrderWindow, total_ - start));
    for (std::uint32_t i = 0; i < window_.size(); ++i) {
      window_[i] = i;
    }
    std::uint64_t state = mixed(config_.order_seed ^ mixed(start));
    for (std::size_t i = window_.size(); i > 1; --i) {
      state = mixed(state);
      std::swap(window_[i - 1], window_[state % i]);
    }
  }
  return start + window_[position - start];
}

bool Runner::admit() {
  const std::uint64_t position = feed_->next.load(std::memory_order_relaxed) < total_
                                     ? feed_->next.fetch_add(1, std::memory_order_relaxed)
                                     : total_;
  if (position >= total_) {
    return false;
  }
  std::unique_ptr<Block> block;
  if (!spare_.empty()) {
    block = std::move(spare_.back());
    spare_.pop_back();
  } else {
    block = make_block();
  }
  start_block(*block, ordered(position));
  resident_.push_back(std::move(block));
  return true;
}

void Runner::recycle(std::unique_ptr<Block> block) {
  if (spare_.size() >= 16) {
    return;
  }
  for (Warp& warp : block->warps) {
    if (!warp.fragments.empty()) {
      return;  // stopped in the middle: frames are in use
    }
  }
  spare_.push_back(std::move(block));
}

Runner::Outcome Runner::run_block(Block& block) {
  for (;;) {
    bool ran = false;
    bool only_polled = true;
    for (; block.next_warp < block.warps.size(); ++block.next_warp) {
      Warp& warp = block.warps[block.next_warp];
      const bool ready = std::any_of(
          warp.fragments.begin(), warp.fragments.end(),
          [](const Fragment& f) { return f.state == FragmentState::ready; });
      if (!ready) {
        continue;
      }
      running_ = &warp;
      const Outcome outcome = run_warp(warp);
      ran = true;
      if (outcome == Outcome::paused) {
        return Outcome::paused;
      }
      only_polled = only_polled && outcome == Outcome::polling;
    }
    block.next_warp = 0;
    if (block.live == 0) {
      return Outcome::done;
    }
    if (!ran && !release_any(block) && !force_warp_sync(block)) {
      const Warp& first = *std::find_if(block.warps.begin(), block.warps.end(),
                                        [](const Warp& w) { return !w.fragments.empty(); });
      running_ = &first;
      const Fragment& waiting = first.fragments.front();
      throw Stop{kErrorLaunchFailed, 0, static_cast<std::uint32_t>(__builtin_ctz(waiting.mask)),
                 waiting.at, "every thread of the block waits at a barrier that cannot open"};
    }
    block.idle_rounds = ran && only_polled ? block.idle_rounds + 1 : 0;
    if (block.idle_rounds >= kIdleRounds) {
      block.idle_rounds = 0;
      return Outcome::polling;
    }
  }
}

Step Runner::step(std::uint64_t quantum) {
  flush_caches();
  budget_ = static_cast<std::int64_t>(std::min<std::uint64_t>(quantum, std::uint64_t{1} << 62));
  quantum_ = budget_;
  const auto count = [&] {
    counters_.warp_instructions = clock();
    quantum_ = budget_;
  };
  try {
    while (budget_ > 0) {
      if (config_.cooperative) {
        while (admit()) {
        }
      }
      if (resident_.empty()) {
        if (!admit()) {
          count();
          return Step::done;
        }
        turn_ = 0;
      }
      turn_ = turn_ < resident_.size() ? turn_ : 0;
      const Outcome outcome = run_block(*resident_[turn_]);
      if (outcome == Outcome::done) {
        recycle(std::move(resident_[turn_]));
        resident_.erase(resident_.begin() + static_cast<std::ptrdiff_t>(turn_));
        ++counters_.blocks_done;
        polled_ = 0;
      } else if (outcome == Outcome::polling) {
        ++turn_;
        if (++polled_ >= resident_.size()) {
          polled_ = 0;
          if (resident_.size() < kMaxResident) {
            admit();
          }
        }
      }
    }
  } catch (...) {
    count();
    throw;
  }
  count();
  if (resident_.empty() && feed_->next.load(std::memory_order_relaxed) >= total_) {
    return Step::done;
  }
  return Step::running;
}

}  // namespace phos::sim::ptx
