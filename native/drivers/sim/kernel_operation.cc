// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/kernel_operation.h"

#include <cstdio>

#include "drivers/sim/builtin_kernel.h"
#include "drivers/sim/device_facts.h"
#include "drivers/sim/device_heap.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

// Warp instructions until other streams get their turn: some tens of milliseconds.
constexpr std::uint64_t kQuantum = 1U << 20;
// The seeded scheduler interleaves much finer, at most this.
constexpr std::uint64_t kSeededQuantum = 4096;

// What kernels print, and the memory that they allocate. Used by the device's thread only.
class KernelServices final : public ptx::Services {
 public:
  void print(std::string_view text) override { output_.append(text); }
  void assertion_failed(std::string_view line) override {
    flush();
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
    std::fflush(stderr);
  }
  std::uint64_t allocate(std::uint64_t bytes) override {
    return device_heap().allocate(runtime().memory->space(), bytes);
  }
  void release(std::uint64_t address) override {
    device_heap().release(runtime().memory->space(), address);
  }
  std::uint64_t time_ns() override { return now_ns(); }

  // Through stdio, so that the text comes in its place among what the program itself prints.
  void flush() {
    if (!output_.empty()) {
      std::fwrite(output_.data(), 1, output_.size(), stdout);
      std::fflush(stdout);
      output_.clear();
    }
  }

 private:
  std::string output_;
};

KernelServices& services() {
  static auto* one = new KernelServices;
  return *one;
}

}  // namespace

Step KernelOperation::step(Turn& turn) {
  if (is_builtin(launch_)) {
    return run_builtin(launch_, next_block_, turn, fault_);
  }
  if (!execution_) {
    ptx::LaunchConfig config;
    config.grid = launch_.grid;
    config.block = launch_.block;
    config.dynamic_shared_bytes = launch_.shared_bytes;
    config.parameters = launch_.parameters;
    config.cooperative = launch_.cooperative;
    config.grid_id = sequence;
    config.order_seed = turn.random != nullptr ? (*turn.random)() | 1U : 0;
    config.stack_bytes = launch_.stack_bytes;
    config.multiprocessors = kMultiprocessors;
    execution_ = ptx::Execution::create(*launch_.module->code, launch_.function->index,
                                        runtime().memory->space(), services(), config);
    if (!execution_) {
      fault_ = {CUDA_ERROR_LAUNCH_FAILED,
                "kernel " + launch_.function->info->name + " cannot be started"};
      return Step::fault;
    }
  }
  const std::uint64_t quantum =
      turn.random != nullptr ? 1 + (*turn.random)() % kSeededQuantum : kQuantum;
  const ptx::Step outcome = execution_->step(quantum);
  services().flush();
  if (outcome == ptx::Step::running) {
    return Step::more;
  }
  if (outcome == ptx::Step::fault) {
    const ptx::Fault& fault = execution_->fault();
    fault_ = {static_cast<CUresult>(fault.cuda_error), fault.text()};
    return Step::fault;
  }
  execution_.reset();
  return Step::done;
}

}  // namespace phos::sim
