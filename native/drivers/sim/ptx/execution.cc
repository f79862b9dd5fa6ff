// SPDX-License-Identifier: Apache-2.0
#include "execution.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <optional>
#include <vector>

#include "../memory/address_space.h"
#include "program.h"
#include "run/runner.h"

namespace phos::sim::ptx {
namespace {

constexpr std::uint64_t kWorkspaceBytes = 256;

// What cooperative groups' grid synchronisation works on: a size and a barrier word.
struct alignas(8) Workspace {
  std::byte bytes[kWorkspaceBytes] = {};
};

std::uint64_t next_workspace_address() {
  static std::atomic<std::uint64_t> next{0};
  return kWorkspaceWindow +
         next.fetch_add(1) % (kSpecialWindowBytes / kWorkspaceBytes) * kWorkspaceBytes;
}

// Blocks of which no thread notices the order may be spread over threads, each with a runner of its
// own, if there are enough of them.
constexpr std::uint64_t kLeastThreadsToSpread = 4096;

std::uint32_t crew_for(const Runner& runner, const LaunchConfig& config) {
  const std::uint64_t blocks = config.grid.count();
  if (!runner.spreads() || config.cooperative || config.order_seed != 0 ||
      blocks * config.block.count() < kLeastThreadsToSpread) {
    return 1;
  }
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(crew_size(), blocks));
}

class Launch final : public Execution {
 public:
  Launch(const Program& program, std::uint32_t kernel, AddressSpace& memory, Services& services,
         const LaunchConfig& config)
      : program_(program), pool_(*program.pools[kernel]), memory_(memory) {
    members_.push_back({.runner = take(kernel)});
    std::uint64_t workspace = 0;
    if (config.cooperative) {
      workspace_ = std::make_unique<Workspace>();
      const std::uint32_t bytes = kWorkspaceBytes;
      std::memcpy(workspace_->bytes, &bytes, sizeof bytes);
      do {
        workspace = next_workspace_address();
      } while (!memory.add({workspace, kWorkspaceBytes, workspace_->bytes, kExtentNone}));
      workspace_address_ = workspace;
    }
    const std::uint32_t count = crew_for(*members_.front().runner, config);
    while (members_.size() < count) {
      members_.push_back({.runner = take(kernel)});
    }
    for (Member& member : members_) {
      member.runner->begin(memory, services, config, workspace, count > 1 ? &feed_ : nullptr);
    }
    blocks_ = config.grid.count();
  }

  ~Launch() override {
    if (workspace_address_ != 0) {
      (void)memory_.remove(workspace_address_);
    }
    if (fault_.cuda_error != 0 || pending_) {
      return;
    }
    for (Member& member : members_) {
      member.runner->end();
      const std::lock_guard lock(pool_.mutex);
      if (pool_.idle.size() < 4) {
        pool_.idle.push_back(std::move(member.runner));
      }
    }
  }
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  Step step(std::uint64_t quantum) override {
    if (fault_.cuda_error != 0) {
      return Step::fault;
    }
    if (members_.size() == 1) {
      advance(members_.front(), quantum);
      return outcome();
    }
    // This thread always has work: the others may be too late to be given any.
    std::vector<std::uint32_t> running;
    for (std::uint32_t i = 0; i < members_.size(); ++i) {
      if (members_[i].last == Step::running) {
        running.push_back(i);
      }
    }
    run_crew(static_cast<std::uint32_t>(running.size()), [&](std::uint32_t index) {
      advance(members_[running[index]], quantum);
    });
    return outcome();
  }

  const Fault& fault() const noexcept override { return fault_; }
  Counters counters() const noexcept override {
    Counters sum;
    for (const Member& member : members_) {
      const Counters own = member.runner->counters();
      sum.warp_instructions += own.warp_instructions;
      sum.blocks_done += own.blocks_done;
    }
    return sum;
  }

 private:
  struct Member {
    std::unique_ptr<Runner> runner;
    Step last = Step::running;
    std::optional<Stop> stop = std::nullopt;
    std::exception_ptr other = nullptr;  // no memory
  };

  std::unique_ptr<Runner> take(std::uint32_t kernel) {
    {
      const std::lock_guard lock(pool_.mutex);
      if (!pool_.idle.empty()) {
        std::unique_ptr<Runner> runner = std::move(pool_.idle.back());
        pool_.idle.pop_back();
        return runner;
      }
    }
    return std::make_unique<Runner>(program_, kernel);
  }

  void advance(Member& member, std::uint64_t quantum) {
    try {
      member.last = member.runner->step(quantum);
    } catch (const Stop& reason) {
      member.last = Step::fault;
      member.stop = reason;
      feed_.next.store(blocks_, std::memory_order_relaxed);  // no more blocks are started
    } catch (...) {
      member.last = Step::fault;
      member.other = std::current_exception();
      feed_.next.store(blocks_, std::memory_order_relaxed);
    }
  }

  // A fault counts once every block that was started has ended: blocks are started in order, so the
  // first one that faults is the same whatever the threads did.
  Step outcome() {
    const Member* first = nullptr;
    bool running = false;
    for (const Member& member : members_) {
      if (member.other != nullptr) {
        pending_ = true;
        std::rethrow_exception(member.other);
      }
      running = running || member.last == Step::running;
      if (member.stop && (first == nullptr || position(member) < position(*first))) {
        first = &member;
      }
    }
    pending_ = pending_ || first != nullptr;
    if (running) {
      return Step::running;
    }
    if (first == nullptr) {
      return Step::done;
    }
    record(*first->runner, *first->stop);
    return Step::fault;
  }

  static std::uint64_t position(const Member& member) {
    const Warp* warp = member.runner->current_warp();
    return warp != nullptr ? warp->block->linear : 0;
  }

  void record(const Runner& runner, const Stop& reason) {
    fault_.cuda_error = reason.error;
    fault_.kernel = runner.kernel().name;
    fault_.address = reason.address;
    fault_.reason = reason.reason;
    if (reason.instr != nullptr) {
      fault_.opcode = reason.instr->form < program_.forms.size()
                          ? program_.forms[reason.instr->form] : std::string{};
      fault_.line = reason.instr->line;
    }
    const Warp* warp = runner.current_warp();
    if (warp != nullptr) {
      fault_.block = warp->block->id;
      fault_.thread = runner.thread_of(*warp, reason.lane);
      if (warp->current != nullptr && warp->current->function != &runner.kernel()) {
        fault_.function = warp->current->function->name;
      }
    }
  }

  const Program& program_;
  RunnerPool& pool_;
  AddressSpace& memory_;
  std::vector<Member> members_;
  BlockFeed feed_;
  std::uint64_t blocks_ = 0;
  bool pending_ = false;  // one of the members has stopped
  std::unique_ptr<Workspace> workspace_;
  std::uint64_t workspace_address_ = 0;
  Fault fault_;
};

}  // namespace

std::unique_ptr<Execution> Execution::create(const Module& module, std::uint32_t kernel,
                                             AddressSpace& memory, Services& services,
                                             const LaunchConfig& config) {
  const Program& program = module.program();
  if (!program.ready || kernel >= program.kernels.size() || config.grid.count() == 0 ||
      config.block.count() == 0 || config.block.count() > 1024 ||
      config.parameters.size() < program.kernels[kernel].parameter_bytes ||
      config.dynamic_shared_bytes > (1U << 20) || config.stack_bytes > (1U << 20) ||
      config.multiprocessors == 0) {
    return nullptr;
  }
  return std::make_unique<Launch>(program, kernel, memory, services, config);
}

}  // namespace phos::sim::ptx
