// SPDX-License-Identifier: Apache-2.0
// What the client knows about nodes of graphs, and how their work is checked and packed.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "phos/cuda_abi.h"

namespace phos::client {

struct NodeInfo {
  std::atomic<std::uint32_t> kind{0};  // CUgraphNodeType
};

// Checks a kernel node as a launch is checked, and packs its parameters (launch.cc).
CUresult pack_kernel_node(const CUDA_KERNEL_NODE_PARAMS& params, std::uint64_t function,
                          std::vector<std::uint8_t>& block) noexcept;
// Checks a copy; the memory of its host sides must be the device's to reach (shaped_copies.cc).
CUresult prepare_node_copy(CUDA_MEMCPY3D_v2& shape) noexcept;

}  // namespace phos::client
