// SPDX-License-Identifier: Apache-2.0
// Graphs that the program puts together node by node.
#include <string.h>

#include <vector>

#include "client/call.h"
#include "client/copy_engine.h"
#include "client/functions.h"
#include "client/graph_nodes.h"
#include "client/staging.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

constexpr std::size_t kMaxDependencies = 1U << 16;

// What a node does, in the form in which it travels.
struct NodeWork {
  std::uint64_t subject = 0;
  std::uint32_t kind = 0;
  std::uint32_t shared_bytes = 0;
  std::uint32_t grid[3] = {0, 0, 0};
  std::uint32_t block[3] = {0, 0, 0};
  std::uint32_t value = 0;
  std::uint32_t element_bytes = 0;
  std::uint64_t set[4] = {0, 0, 0, 0};
  CUDA_MEMCPY3D_v2 copy{};
  std::vector<std::uint8_t> parameters;
};

template <class Request>
void put(const NodeWork& work, Request& request) noexcept {
  request.subject = work.subject;
  request.kind = work.kind;
  request.shared_bytes = work.shared_bytes;
  memcpy(request.grid, work.grid, sizeof(request.grid));
  memcpy(request.block, work.block, sizeof(request.block));
  request.value = work.value;
  request.element_bytes = work.element_bytes;
  memcpy(request.set, work.set, sizeof(request.set));
  request.copy = work.copy;
}

CUresult read_kernel(const CUDA_KERNEL_NODE_PARAMS& params, NodeWork& work) noexcept {
  work.kind = CU_GRAPH_NODE_TYPE_KERNEL;
  work.subject = params.func != nullptr ? bits_of(params.func) : bits_of(params.kern);
  work.grid[0] = params.gridDimX;
  work.grid[1] = params.gridDimY;
  work.grid[2] = params.gridDimZ;
  work.block[0] = params.blockDimX;
  work.block[1] = params.blockDimY;
  work.block[2] = params.blockDimZ;
  work.shared_bytes = params.sharedMemBytes;
  return pack_kernel_node(params, work.subject, work.parameters);
}

CUresult read_copy(const CUDA_MEMCPY3D& shape, NodeWork& work) noexcept {
  work.kind = CU_GRAPH_NODE_TYPE_MEMCPY;
  work.copy = shape;
  return prepare_node_copy(work.copy);
}

CUresult read_memset(const CUDA_MEMSET_NODE_PARAMS& params, NodeWork& work) noexcept {
  const unsigned size = params.elementSize;
  if (size != 1 && size != 2 && size != 4) return CUDA_ERROR_INVALID_VALUE;
  if (params.width == 0 || params.height == 0) return CUDA_ERROR_INVALID_VALUE;
  const std::uint64_t row = params.width * size;
  const std::uint64_t pitch = params.height == 1 ? row : params.pitch;
  if (pitch < row || params.dst % size != 0) return CUDA_ERROR_INVALID_VALUE;
  const Place place = place_of(params.dst, pitch * (params.height - 1) + row);
  if (place != Place::device && place != Place::arena) return CUDA_ERROR_INVALID_VALUE;
  work.kind = CU_GRAPH_NODE_TYPE_MEMSET;
  work.value = params.value;
  work.element_bytes = size;
  work.set[0] = params.dst;
  work.set[1] = params.pitch;
  work.set[2] = params.width;
  work.set[3] = params.height;
  return CUDA_SUCCESS;
}

CUresult read_handle(CUgraphNodeType kind, HandleType type, std::uint64_t handle,
                     NodeWork& work) noexcept {
  work.kind = static_cast<std::uint32_t>(kind);
  return handle_arg(type, handle, false, &work.subject);
}

CUresult check_context(CUcontext context) noexcept {
  std::uint64_t wire = 0;
  return handle_arg(HandleType::context, bits_of(context), true, &wire);
}

CUresult add(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies, std::size_t count,
             const NodeWork& work) noexcept {
  codec::Req_phos_graph_node_add request{};
  CUresult status = handle_arg(HandleType::graph, bits_of(graph), false, &request.graph);
  if (status != CUDA_SUCCESS) return status;
  if (node == nullptr || (count != 0 && dependencies == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  if (count > kMaxDependencies) return CUDA_ERROR_INVALID_VALUE;
  std::vector<std::uint64_t> wires(count);
  for (std::size_t i = 0; i < count; ++i) {
    status = handle_arg(HandleType::graph_node, bits_of(dependencies[i]), false, &wires[i]);
    if (status != CUDA_SUCCESS) return CUDA_ERROR_INVALID_VALUE;
  }
  put(work, request);
  status = new_handle_under(HandleType::graph_node, request.graph, &request.node);
  if (status != CUDA_SUCCESS) return status;
  auto* info = object_of<NodeInfo>(HandleType::graph_node, request.node);
  const Blob in[] = {{wires.data(), wires.size() * sizeof(wires[0])},
                     {work.parameters.data(), work.parameters.size()}};
  codec::Rep_phos_graph_node_add reply{};
  status = info == nullptr
               ? CUDA_ERROR_OUT_OF_MEMORY
               : call_sync(CallId::phos_graph_node_add, request, in, &reply, {});
  if (status != CUDA_SUCCESS) {
    drop_handle(HandleType::graph_node, request.node);
    return status;
  }
  info->kind.store(work.kind);
  *node = pointer_of<CUgraphNode>(request.node);
  return CUDA_SUCCESS;
}

CUresult set(std::uint64_t exec, CUgraphNode node, const NodeWork& work) noexcept {
  codec::Req_phos_graph_node_set request{};
  CUresult status = handle_arg(HandleType::graph_node, bits_of(node), false, &request.node);
  if (status != CUDA_SUCCESS) return status;
  const auto* info = object_of<NodeInfo>(HandleType::graph_node, request.node);
  if (info == nullptr || info->kind.load() != work.kind) return CUDA_ERROR_INVALID_VALUE;
  request.exec = exec;
  put(work, request);
  const Blob in[] = {{work.parameters.data(), work.parameters.size()}};
  codec::Rep_phos_graph_node_set reply{};
  return call_sync(CallId::phos_graph_node_set, request, in, &reply, {});
}

CUresult exec_arg(CUgraphExec exec, std::uint64_t* wire) noexcept {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  return handle_arg(HandleType::graph_exec, bits_of(exec), false, wire);
}

}  // namespace

namespace impl {

CUresult cuGraphAddKernelNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                              const CUgraphNode* dependencies, size_t numDependencies,
                              const CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (nodeParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  NodeWork work;
  const CUresult status = read_kernel(*nodeParams, work);
  return status != CUDA_SUCCESS ? status
                                : add(phGraphNode, hGraph, dependencies, numDependencies, work);
}

CUresult cuGraphAddMemcpyNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                              const CUgraphNode* dependencies, size_t numDependencies,
                              const CUDA_MEMCPY3D* copyParams, CUcontext ctx) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (copyParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  NodeWork work;
  CUresult status = check_context(ctx);
  if (status == CUDA_SUCCESS) status = read_copy(*copyParams, work);
  return status != CUDA_SUCCESS ? status
                                : add(phGraphNode, hGraph, dependencies, numDependencies, work);
}

CUresult cuGraphAddMemsetNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                              const CUgraphNode* dependencies, size_t numDependencies,
                              const CUDA_MEMSET_NODE_PARAMS* memsetParams, CUcontext ctx) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (memsetParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  NodeWork work;
  CUresult status = check_context(ctx);
  if (status == CUDA_SUCCESS) status = read_memset(*memsetParams, work);
  return status != CUDA_SUCCESS ? status
                                : add(phGraphNode, hGraph, dependencies, numDependencies, work);
}

CUresult cuGraphAddHostNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                            const CUgraphNode* dependencies, size_t numDependencies,
                            const CUDA_HOST_NODE_PARAMS* nodeParams) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (nodeParams == nullptr || nodeParams->fn == nullptr) return CUDA_ERROR_INVALID_VALUE;
  NodeWork work;
  work.kind = CU_GRAPH_NODE_TYPE_HOST;
  CUresult status =
      add_host_function({nodeParams->fn, nullptr, nullptr, nodeParams->userData, true},
                        &work.subject);
  if (status != CUDA_SUCCESS) return status;
  status = add(phGraphNode, hGraph, dependencies, numDependencies, work);
  if (status != CUDA_SUCCESS) forget_host_function(work.subject);
  return status;
}

CUresult cuGraphAddChildGraphNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                                  const CUgraphNode* dependencies, size_t numDependencies,
                                  CUgraph childGraph) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  NodeWork work;
  const CUresult status =
      read_handle(CU_GRAPH_NODE_TYPE_GRAPH, HandleType::graph, bits_of(childGraph), work);
  return status != CUDA_SUCCESS ? status
                                : add(phGraphNode, hGraph, dependencies, numDependencies, work);
}

CUresult cuGraphAddEmptyNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                             const CUgraphNode* dependencies, size_t numDependencies) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  NodeWork work;
  work.kind = CU_GRAPH_NODE_TYPE_EMPTY;
  return add(phGraphNode, hGraph, dependencies, numDependencies, work);
}

CUresult cuGraphAddEventRecordNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                                   const CUgraphNode* dependencies, size_t numDependencies,
                                   CUevent event) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  NodeWork work;
  const CUresult status =
      read_handle(CU_GRAPH_NODE_TYPE_EVENT_RECORD, HandleType::event, bits_of(event), work);
  return status != CUDA_SUCCESS ? status
                                : add(phGraphNode, hGraph, dependencies, numDependencies, work);
}

CUresult cuGraphAddEventWaitNode(CUgraphNode* phGraphNode, CUgraph hGraph,
                                 const CUgraphNode* dependencies, size_t numDependencies,
                                 CUevent event) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  NodeWork work;
  const CUresult status =
      read_handle(CU_GRAPH_NODE_TYPE_WAIT_EVENT, HandleType::event, bits_of(event), work);
  return status != CUDA_SUCCESS ? status
                                : add(phGraphNode, hGraph, dependencies, numDependencies, work);
}

CUresult cuGraphKernelNodeSetParams(CUgraphNode hNode, const CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (nodeParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  NodeWork work;
  const CUresult status = read_kernel(*nodeParams, work);
  return status != CUDA_SUCCESS ? status : set(0, hNode, work);
}

CUresult cuGraphMemcpyNodeSetParams(CUgraphNode hNode, const CUDA_MEMCPY3D* nodeParams) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (nodeParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  NodeWork work;
  const CUresult status = read_copy(*nodeParams, work);
  return status != CUDA_SUCCESS ? status : set(0, hNode, work);
}

CUresult cuGraphMemsetNodeSetParams(CUgraphNode hNode, const CUDA_MEMSET_NODE_PARAMS* nodeParams) {
  if (const CUresult status = require_init(); status != CUDA_SUCCESS) return status;
  if (nodeParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  NodeWork work;
  const CUresult status = read_memset(*nodeParams, work);
  return status != CUDA_SUCCESS ? status : set(0, hNode, work);
}

CUresult cuGraphExecKernelNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                        const CUDA_KERNEL_NODE_PARAMS* nodeParams) {
  std::uint64_t exec = 0;
  CUresult status = exec_arg(hGraphExec, &exec);
  if (status != CUDA_SUCCESS) return status;
  if (nodeParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  NodeWork work;
  status = read_kernel(*nodeParams, work);
  return status != CUDA_SUCCESS ? status : set(exec, hNode, work);
}

CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                        const CUDA_MEMCPY3D* copyParams, CUcontext ctx) {
  std::uint64_t exec = 0;
  CUresult status = exec_arg(hGraphExec, &exec);
  if (status == CUDA_SUCCESS) status = check_context(ctx);
  if (status != CUDA_SUCCESS) return status;
  if (copyParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  NodeWork work;
  status = read_copy(*copyParams, work);
  return status != CUDA_SUCCESS ? status : set(exec, hNode, work);
}

CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                        const CUDA_MEMSET_NODE_PARAMS* memsetParams,
                                        CUcontext ctx) {
  std::uint64_t exec = 0;
  CUresult status = exec_arg(hGraphExec, &exec);
  if (status == CUDA_SUCCESS) status = check_context(ctx);
  if (status != CUDA_SUCCESS) return status;
  if (memsetParams == nullptr) return CUDA_ERROR_INVALID_VALUE;
  NodeWork work;
  status = read_memset(*memsetParams, work);
  return status != CUDA_SUCCESS ? status : set(exec, hNode, work);
}

CUresult cuGraphExecChildGraphNodeSetParams(CUgraphExec hGraphExec, CUgraphNode hNode,
                                            CUgraph childGraph) {
  std::uint64_t exec = 0;
  CUresult status = exec_arg(hGraphExec, &exec);
  NodeWork work;
  if (status == CUDA_SUCCESS) {
    status = read_handle(CU_GRAPH_NODE_TYPE_GRAPH, HandleType::graph, bits_of(childGraph), work);
  }
  return status != CUDA_SUCCESS ? status : set(exec, hNode, work);
}

}  // namespace impl
}  // namespace phos::client
