// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "drivers/sim/operation.h"
#include "drivers/sim/stream.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

struct Module;
struct Pool;

struct Device {
  int ordinal = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t primary_context = 0;  // handle; 0 until it was first needed
  unsigned primary_references = 0;
  unsigned primary_flags = 0;
  std::uint64_t default_pool = 0;  // handle
  std::uint64_t current_pool = 0;
};

struct Event {
  Context* context = nullptr;
  std::uint64_t handle = 0;
  unsigned flags = 0;
  bool recorded = false;
  // Null when the newest record has completed (or there was none): then time_ns is its time.
  std::shared_ptr<Fence> fence;
  std::uint64_t time_ns = 0;
  CUresult status = CUDA_SUCCESS;
  // Set by a record on a capturing stream; the event then means a point in that capture.
  std::shared_ptr<Capture> capture;
  std::vector<GraphNode*> capture_nodes;
};

// Guarded by the runtime lock.
struct Context {
  Device* device = nullptr;
  std::uint64_t handle = 0;
  std::uint64_t id = 0;
  bool primary = false;
  bool active = true;  // a primary context that is not retained is inactive
  unsigned flags = 0;
  unsigned api_version = 13000;
  CUresult error = CUDA_SUCCESS;  // sticky
  std::string diagnostic;
  bool dropping = false;          // its queues are being emptied: start nothing
  CUfunc_cache cache_config = CU_FUNC_CACHE_PREFER_NONE;
  CUsharedconfig shared_config = CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE;
  std::array<std::size_t, CU_LIMIT_MAX> limits{};

  std::shared_ptr<Stream> legacy;
  std::unordered_map<std::uint64_t, std::shared_ptr<Stream>> per_thread;  // by thread number
  std::vector<Stream*> streams;                // all of them
  std::uint64_t blocking_pending = 0;          // operations in streams that take part in barriers
  std::unordered_map<const void*, std::shared_ptr<Module>> instances;  // by library
  unsigned captures = 0;                       // streams that are capturing
  std::vector<std::uint64_t> peers;            // contexts whose memory may be used
};

}  // namespace phos::sim
