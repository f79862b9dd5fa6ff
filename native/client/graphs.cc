// SPDX-License-Identifier: Apache-2.0
// Graphs, as far as they need more than generated bodies.
#include <string.h>

#include "client/call.h"
#include "client/graph_nodes.h"
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

CUresult cuGraphNodeGetType(CUgraphNode hNode, CUgraphNodeType* type) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (type == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::uint64_t node = 0;
  const CUresult status = handle_arg(HandleType::graph_node, bits_of(hNode), false, &node);
  if (status != CUDA_SUCCESS) return status;
  const auto* info = object_of<NodeInfo>(HandleType::graph_node, node);
  if (info == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *type = static_cast<CUgraphNodeType>(info->kind.load());
  return CUDA_SUCCESS;
}

// With its nodes.
CUresult cuGraphDestroy(CUgraph hGraph) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  codec::Req_cuGraphDestroy request{};
  codec::Rep_cuGraphDestroy reply{};
  const CUresult status = retire_handle(HandleType::graph, bits_of(hGraph), &request.hGraph);
  if (status != CUDA_SUCCESS) return status;
  auto& nodes = handles_of(HandleType::graph_node);
  nodes.remove_children(request.hGraph, [](std::uint64_t, HandleSlot&) {});
  return ask(request, &reply);
}

CUresult cuGraphInstantiate(CUgraphExec* phGraphExec, CUgraph hGraph, CUgraphNode* phErrorNode,
                            char* logBuffer, size_t bufferSize) {
  if (phErrorNode != nullptr) *phErrorNode = nullptr;
  if (logBuffer != nullptr && bufferSize != 0) logBuffer[0] = '\0';
  return impl::cuGraphInstantiateWithFlags(phGraphExec, hGraph, 0);
}

CUresult cuGraphInstantiateWithParams(CUgraphExec* phGraphExec, CUgraph hGraph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS* instantiateParams,
                                      StreamMode stream_mode) {
  if (instantiateParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUDA_GRAPH_INSTANTIATE_PARAMS& params = *instantiateParams;
  const bool uploads = (params.flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD) != 0;
  params.hErrNode_out = nullptr;
  params.result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
  CUresult status = impl::cuGraphInstantiateWithFlags(
      phGraphExec, hGraph, params.flags & ~cuuint64_t{CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD});
  if (status == CUDA_SUCCESS && uploads) {
    CUstream stream = params.hUploadStream;
    if (stream == nullptr && stream_mode == StreamMode::per_thread) stream = CU_STREAM_PER_THREAD;
    status = impl::cuGraphUpload(*phGraphExec, stream);
  }
  if (status == CUDA_SUCCESS) params.result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
  return status;
}

CUresult cuGraphExecUpdate(CUgraphExec hGraphExec, CUgraph hGraph,
                           CUgraphExecUpdateResultInfo* resultInfo) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (resultInfo == nullptr) return CUDA_ERROR_INVALID_VALUE;
  codec::Req_cuGraphExecUpdate request{};
  codec::Rep_cuGraphExecUpdate reply{};
  CUresult status = handle_arg(HandleType::graph_exec, bits_of(hGraphExec), false, &request.exec);
  if (status == CUDA_SUCCESS) {
    status = handle_arg(HandleType::graph, bits_of(hGraph), false, &request.graph);
  }
  if (status != CUDA_SUCCESS) return status;
  status = ask(request, &reply);
  // Nodes at which it failed have no handles here.
  *resultInfo = {};
  resultInfo->result = static_cast<CUgraphExecUpdateResult>(reply.result);
  return status;
}

CUresult cuGraphAddNode(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies,
                        const CUgraphEdgeData* dependencyData, size_t numDependencies,
                        CUgraphNodeParams* nodeParams) {
  if (nodeParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUgraphEdgeData plain{};
  for (std::size_t i = 0; dependencyData != nullptr && i < numDependencies; ++i) {
    if (memcmp(&dependencyData[i], &plain, sizeof(plain)) == 0) continue;
    return report_unsupported(CallId::cuGraphAddNode);
  }
  switch (nodeParams->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
      // The same fields under another name.
      CUDA_KERNEL_NODE_PARAMS params{};
      static_assert(sizeof(params) == sizeof(nodeParams->kernel));
      memcpy(&params, &nodeParams->kernel, sizeof(params));
      return impl::cuGraphAddKernelNode(phGraphNode, hGraph, dependencies, numDependencies,
                                        &params);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return impl::cuGraphAddMemcpyNode(phGraphNode, hGraph, dependencies, numDependencies,
                                        &nodeParams->memcpy.copyParams, nodeParams->memcpy.copyCtx);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      const auto& given = nodeParams->memset;
      const CUDA_MEMSET_NODE_PARAMS params{given.dst,         given.pitch, given.value,
                                           given.elementSize, given.width, given.height};
      return impl::cuGraphAddMemsetNode(phGraphNode, hGraph, dependencies, numDependencies,
                                        &params, given.ctx);
    }
    case CU_GRAPH_NODE_TYPE_HOST: {
      const CUDA_HOST_NODE_PARAMS params{nodeParams->host.fn, nodeParams->host.userData};
      return impl::cuGraphAddHostNode(phGraphNode, hGraph, dependencies, numDependencies, &params);
    }
    case CU_GRAPH_NODE_TYPE_GRAPH:
      return impl::cuGraphAddChildGraphNode(phGraphNode, hGraph, dependencies, numDependencies,
                                            nodeParams->graph.graph);
    case CU_GRAPH_NODE_TYPE_EMPTY:
      return impl::cuGraphAddEmptyNode(phGraphNode, hGraph, dependencies, numDependencies);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return impl::cuGraphAddEventRecordNode(phGraphNode, hGraph, dependencies, numDependencies,
                                             nodeParams->eventRecord.event);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return impl::cuGraphAddEventWaitNode(phGraphNode, hGraph, dependencies, numDependencies,
                                           nodeParams->eventWait.event);
    default:
      return report_unsupported(CallId::cuGraphAddNode);
  }
}

}  // namespace phos::client::impl
