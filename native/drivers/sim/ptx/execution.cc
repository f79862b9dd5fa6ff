// SPDX-License-Identifier: Apache-2.0
#include "execution.h"

#include <atomic>
#include <cstring>

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

class Launch final : public Execution {
 public:
  Launch(const Program& program, std::uint32_t kernel, AddressSpace& memory, Services& services,
         const LaunchConfig& config)
      : program_(program), pool_(*program.pools[kernel]), memory_(memory) {
    {
      const std::lock_guard lock(pool_.mutex);
      if (!pool_.idle.empty()) {
        runner_ = std::move(pool_.idle.back());
        pool_.idle.pop_back();
      }
    }
    if (runner_ == nullptr) {
      runner_ = std::make_unique<Runner>(program, kernel);
    }
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
    runner_->begin(memory, services, config, workspace);
  }

  ~Launch() override {
    if (workspace_address_ != 0) {
      (void)memory_.remove(workspace_address_);
    }
    if (fault_.cuda_error == 0) {
      runner_->end();
      const std::lock_guard lock(pool_.mutex);
      if (pool_.idle.size() < 4) {
        pool_.idle.push_back(std::move(runner_));
      }
    }
  }
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  Step step(std::uint64_t quantum) override {
    if (fault_.cuda_error != 0) {
      return Step::fault;
    }
    try {
      return runner_->step(quantum);
    } catch (const Stop& reason) {
      record(reason);
      return Step::fault;
    }
  }

  const Fault& fault() const noexcept override { return fault_; }
  Counters counters() const noexcept override { return runner_->counters(); }

 private:
  void record(const Stop& reason) {
    fault_.cuda_error = reason.error;
    fault_.kernel = runner_->kernel().name;
    fault_.address = reason.address;
    fault_.reason = reason.reason;
    if (reason.instr != nullptr) {
      fault_.opcode = reason.instr->form < program_.forms.size()
                          ? program_.forms[reason.instr->form] : std::string{};
      fault_.line = reason.instr->line;
    }
    const Warp* warp = runner_->current_warp();
    if (warp != nullptr) {
      fault_.block = warp->block->id;
      fault_.thread = runner_->thread_of(*warp, reason.lane);
      if (warp->current != nullptr && warp->current->function != &runner_->kernel()) {
        fault_.function = warp->current->function->name;
      }
    }
  }

  const Program& program_;
  RunnerPool& pool_;
  AddressSpace& memory_;
  std::unique_ptr<Runner> runner_;
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
