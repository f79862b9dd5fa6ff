// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "drivers/sim/module.h"
#include "drivers/sim/operation.h"
#include "drivers/sim/ptx/execution.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

// A launch as the program asked for it, checked.
struct Launch {
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  ptx::Dim3 grid;
  ptx::Dim3 block;
  std::uint32_t shared_bytes = 0;
  bool cooperative = false;
  std::vector<std::byte> parameters;
  std::uint32_t stack_bytes = 0;
};

class KernelOperation final : public Operation {
 public:
  explicit KernelOperation(Launch launch) : launch_(std::move(launch)) {}
  Step step(Turn& turn) override;
  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<KernelOperation>(launch_);
  }
  const Launch& launch() const noexcept { return launch_; }

 private:
  Launch launch_;
  std::unique_ptr<ptx::Execution> execution_;
  std::uint32_t next_block_ = 0;  // of a kernel that is not interpreted
};

}  // namespace phos::sim
