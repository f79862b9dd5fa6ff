// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "drivers/sim/graph.h"
#include "drivers/sim/operation.h"

namespace phos::sim {

// One launch of an executable graph, as one operation of its stream. Its nodes run piece by piece:
// ready(), with the lock, chooses one that may go on, and step() lets it.
class GraphOperation final : public Operation {
 public:
  explicit GraphOperation(const std::shared_ptr<GraphExec>& exec);
  void submitted(Stream& stream) override;
  bool ready() override;
  bool polls() const override { return polls_; }
  Step step(Turn& turn) override;
  void finished(CUresult status) override;
  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<GraphOperation>(exec_);
  }
  const GraphExec& exec() const noexcept { return *exec_; }

 private:
  enum class State : std::uint8_t { waiting, stepped, finished };
  struct Part {
    std::unique_ptr<Operation> operation;
    std::vector<std::size_t> dependencies;
    State state = State::waiting;
  };
  bool may_run(Part& part);

  std::shared_ptr<GraphExec> exec_;
  std::vector<Part> parts_;
  std::size_t first_open_ = 0;  // all parts before it are finished
  std::size_t chosen_ = 0;
  bool all_done_ = false;
  bool polls_ = false;
  unsigned rotation_ = 0;  // seeded: where the search for a part starts
  std::shared_ptr<Fence> before_;
  std::shared_ptr<Fence> fence_;
};

}  // namespace phos::sim
