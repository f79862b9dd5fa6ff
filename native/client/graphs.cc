// SPDX-License-Identifier: Apache-2.0
// Graphs, as far as they need more than generated bodies.
#include "client/call.h"
#include "gen/client_impl.h"

namespace phos::client::impl {

// The number of nodes. Handles of nodes that a capture made are not given out.
CUresult cuGraphGetNodes(CUgraph hGraph, CUgraphNode* nodes, size_t* numNodes) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (numNodes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  codec::Req_cuGraphGetNodes request{};
  codec::Rep_cuGraphGetNodes reply{};
  CUresult status = handle_arg(HandleType::graph, bits_of(hGraph), false, &request.graph);
  if (status != CUDA_SUCCESS) return status;
  status = ask(request, &reply);
  if (status != CUDA_SUCCESS) return status;
  if (nodes != nullptr && reply.count != 0) return report_unsupported(CallId::cuGraphGetNodes);
  *numNodes = reply.count;
  return CUDA_SUCCESS;
}

}  // namespace phos::client::impl
