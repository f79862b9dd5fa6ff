// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/graph_operation.h"

#include <algorithm>

#include "drivers/sim/operations.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {

GraphOperation::GraphOperation(const std::shared_ptr<GraphExec>& exec) : exec_(exec) {
  parts_.reserve(exec->nodes.size());
  for (const ExecNode& node : exec->nodes) {
    Part part;
    part.operation = node.enabled ? node.operation->clone() : std::make_unique<EmptyOperation>();
    part.dependencies = node.dependencies;
    polls_ = polls_ || part.operation->polls();
    parts_.push_back(std::move(part));
  }
}

void GraphOperation::submitted(Stream& stream) {
  before_ = exec_->last;
  fence_ = std::make_shared<Fence>();
  exec_->last = fence_;
  for (Part& part : parts_) {
    part.operation->sequence = sequence;
    part.operation->submitted(stream);
  }
}

bool GraphOperation::may_run(Part& part) {
  const bool free = std::all_of(
      part.dependencies.begin(), part.dependencies.end(),
      [this](std::size_t before) { return parts_[before].state == State::finished; });
  return free && part.operation->ready();
}

bool GraphOperation::ready() {
  if (before_ && !before_->done) {
    return false;
  }
  while (first_open_ < parts_.size() && parts_[first_open_].state != State::waiting) {
    if (parts_[first_open_].state == State::stepped) {
      parts_[first_open_].state = State::finished;
      parts_[first_open_].operation->finished(CUDA_SUCCESS);
    }
    ++first_open_;
  }
  for (std::size_t i = first_open_; i < parts_.size(); ++i) {
    if (parts_[i].state == State::stepped) {
      parts_[i].state = State::finished;
      parts_[i].operation->finished(CUDA_SUCCESS);
    }
  }
  if (first_open_ == parts_.size()) {
    all_done_ = true;
    return true;
  }
  const std::size_t open = parts_.size() - first_open_;
  for (std::size_t i = 0; i < open; ++i) {
    const std::size_t index = first_open_ + (i + rotation_) % open;
    if (parts_[index].state == State::waiting && may_run(parts_[index])) {
      chosen_ = index;
      return true;
    }
  }
  return false;
}

Step GraphOperation::step(Turn& turn) {
  if (all_done_) {
    return Step::done;
  }
  if (turn.random != nullptr) {
    rotation_ = static_cast<unsigned>((*turn.random)());
  }
  Part& part = parts_[chosen_];
  const Step outcome = part.operation->step(turn);
  switch (outcome) {
    case Step::done:
      part.state = State::stepped;
      return Step::next;
    case Step::fault:
      fault_ = part.operation->fault();
      return Step::fault;
    default:
      return outcome;
  }
}

void GraphOperation::finished(CUresult status) {
  for (Part& part : parts_) {
    if (part.state != State::finished) {
      part.operation->finished(part.state == State::stepped ? CUDA_SUCCESS : status);
    }
  }
  fence_->complete(status, now_ns());
}

}  // namespace phos::sim
