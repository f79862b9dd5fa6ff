// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "drivers/sim/operation.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

struct Context;
struct Capture;
struct GraphNode;

enum class StreamKind : std::uint8_t { legacy, per_thread, created };

// Guarded by the runtime lock.
struct Stream : std::enable_shared_from_this<Stream> {
  Context* context = nullptr;
  std::uint64_t handle = 0;
  std::uint64_t id = 0;
  StreamKind kind = StreamKind::created;
  bool non_blocking = false;  // does not take part in the legacy stream's barriers
  unsigned flags = 0;
  int priority = 0;

  std::deque<std::unique_ptr<Operation>> queue;
  std::uint64_t last = 0;       // sequence of the newest operation ever submitted
  std::uint64_t completed = 0;  // sequence of the newest operation that has ended
  std::uint64_t turn_floor = 0; // not before operations with a lower sequence
  unsigned stalled_rounds = 0;  // seeded scheduler
  std::uint64_t not_before_ns = 0;  // seeded scheduler
  bool stepping = false;        // the device's thread is inside queue.front()->step()
  bool active = false;          // listed by the scheduler
  std::vector<Waiter*> waiters;
  std::shared_ptr<Stream> keep_alive;  // set when destroyed before its work is done

  std::shared_ptr<Capture> capture;
  std::vector<GraphNode*> capture_tail;  // what the next captured node depends on
  std::vector<CUgraphNode> capture_report;  // what cuStreamGetCaptureInfo points at

  CUaccessPolicyWindow access_policy{};
  int sync_policy = CU_SYNC_POLICY_AUTO;

  bool idle() const noexcept { return queue.empty(); }
};

}  // namespace phos::sim
