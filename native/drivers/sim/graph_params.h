// SPDX-License-Identifier: Apache-2.0
// Operations made of the parameter structures of graph nodes, and back.
#pragma once

#include <memory>

#include "drivers/sim/context.h"
#include "drivers/sim/graph.h"
#include "drivers/sim/operation.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

using Made = std::unique_ptr<Operation>;

CUresult make_kernel(Context& context, const CUDA_KERNEL_NODE_PARAMS& parameters, Made& made);
CUresult make_memcpy(const CUDA_MEMCPY3D* copy, Made& made);
CUresult make_memset(const CUDA_MEMSET_NODE_PARAMS* parameters, Made& made);
CUresult make_host(const CUDA_HOST_NODE_PARAMS* parameters, Made& made);
CUresult make_record(CUevent event, Made& made);
CUresult make_wait(CUevent event, Made& made);
CUresult make_batch(const CUDA_BATCH_MEM_OP_NODE_PARAMS* parameters, Made& made);
// Any of the above, by `parameters.type`. Child graphs come back in `child` instead.
CUresult make_any(Context& context, const CUgraphNodeParams& parameters, Made& made,
                  std::shared_ptr<Graph>& child);

// The node's pointers in the answer stay valid until it is changed or destroyed.
CUDA_KERNEL_NODE_PARAMS describe_kernel(GraphNode& node);

// The context that a node is to run in: the one named, else the current one.
CUresult node_context(class Entry& entry, CUcontext named, Context** context);

}  // namespace phos::sim
