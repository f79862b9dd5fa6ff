// SPDX-License-Identifier: Apache-2.0
// Executable graphs: making, launching, changing them.
#include <algorithm>

#include "drivers/sim/calls.h"
#include "drivers/sim/graph_params.h"
#include "drivers/sim/kernel_operation.h"
#include "drivers/sim/operations.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

CUresult instantiate_with_flags(CUgraphExec* out, CUgraph handle, unsigned long long flags) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Graph* graph = runtime().graphs.find(handle_bits(handle));
  if (out == nullptr || graph == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if ((flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) != 0) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  const auto exec = std::make_shared<GraphExec>();
  exec->flags = flags;
  if (const CUresult result = instantiate_graph(*graph, *exec); result != CUDA_SUCCESS) {
    return result;
  }
  exec->handle = runtime().graph_execs.add(exec);
  *out = as_handle<CUgraphExec>(exec->handle);
  return CUDA_SUCCESS;
}

CUresult instantiate(CUgraphExec* out, CUgraph graph, CUgraphNode* error_node, char* log,
                     std::size_t log_bytes) {
  if (error_node != nullptr) {
    *error_node = nullptr;
  }
  if (log != nullptr && log_bytes != 0) {
    log[0] = '\0';
  }
  return instantiate_with_flags(out, graph, 0);
}

CUresult instantiate_with_params(CUgraphExec* out, CUgraph graph,
                                 CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
  if (parameters == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  parameters->hErrNode_out = nullptr;
  const CUresult result = instantiate_with_flags(out, graph, parameters->flags);
  parameters->result_out =
      result == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
  return result;
}

CUresult enter(Entry& entry, CUgraphExec handle, std::shared_ptr<GraphExec>& exec) {
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  exec = runtime().graph_execs.share(handle_bits(handle));
  return exec ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult launch(CUgraphExec handle, CUstream stream_handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  std::shared_ptr<GraphExec> exec;
  if (const CUresult result = enter(entry, handle, exec); result != CUDA_SUCCESS) {
    return result;
  }
  Stream* stream = find_stream(entry, stream_handle);
  return stream == nullptr ? CUDA_ERROR_INVALID_HANDLE
                           : submit(entry, *stream, make_graph_launch(exec));
}

// Everything is where it must be already.
CUresult upload(CUgraphExec handle, CUstream stream_handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  std::shared_ptr<GraphExec> exec;
  if (const CUresult result = enter(entry, handle, exec); result != CUDA_SUCCESS) {
    return result;
  }
  return find_stream(entry, stream_handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult destroy(CUgraphExec handle) {
  Entry entry;
  std::shared_ptr<GraphExec> exec;
  if (const CUresult result = enter(entry, handle, exec); result != CUDA_SUCCESS) {
    return result;
  }
  forget_graph(*exec->source);
  runtime().graph_execs.remove(handle_bits(handle));
  return CUDA_SUCCESS;
}

CUresult get_flags(CUgraphExec handle, cuuint64_t* flags) {
  Entry entry;
  std::shared_ptr<GraphExec> exec;
  if (const CUresult result = enter(entry, handle, exec); result != CUDA_SUCCESS) {
    return result;
  }
  if (flags == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *flags = exec->flags;
  return CUDA_SUCCESS;
}

// The executable node that was made of a node of the graph (or of a copy of it).
ExecNode* find_node(GraphExec& exec, CUgraphNode handle) {
  const auto found = std::find_if(exec.nodes.begin(), exec.nodes.end(),
                                  [handle](const ExecNode& node) {
                                    return node.origin == handle_bits(handle);
                                  });
  return found == exec.nodes.end() ? nullptr : &*found;
}

template <class Make>
CUresult change(CUgraphExec handle, CUgraphNode node_handle, CUgraphNodeType type, Make make) {
  Entry entry;
  std::shared_ptr<GraphExec> exec;
  if (const CUresult result = enter(entry, handle, exec); result != CUDA_SUCCESS) {
    return result;
  }
  ExecNode* node = find_node(*exec, node_handle);
  if (node == nullptr || node->type != type) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Made made;
  const CUresult result = make(*node, made);
  if (result == CUDA_SUCCESS) {
    node->operation = std::move(made);
  }
  return result;
}

CUresult kernel_set(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* in) {
  return change(exec, node, CU_GRAPH_NODE_TYPE_KERNEL, [in](ExecNode& old, Made& made) {
    Context& context = *static_cast<KernelOperation&>(*old.operation).launch().module->context;
    return in == nullptr ? CUDA_ERROR_INVALID_VALUE : make_kernel(context, *in, made);
  });
}
CUresult memcpy_set(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D* in,
                    CUcontext /*context*/) {
  return change(exec, node, CU_GRAPH_NODE_TYPE_MEMCPY,
                [in](ExecNode&, Made& made) { return make_memcpy(in, made); });
}
CUresult memset_set(CUgraphExec exec, CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS* in,
                    CUcontext /*context*/) {
  return change(exec, node, CU_GRAPH_NODE_TYPE_MEMSET,
                [in](ExecNode&, Made& made) { return make_memset(in, made); });
}
CUresult host_set(CUgraphExec exec, CUgraphNode node, const CUDA_HOST_NODE_PARAMS* in) {
  return change(exec, node, CU_GRAPH_NODE_TYPE_HOST,
                [in](ExecNode&, Made& made) { return make_host(in, made); });
}
CUresult record_set(CUgraphExec exec, CUgraphNode node, CUevent event) {
  return change(exec, node, CU_GRAPH_NODE_TYPE_EVENT_RECORD,
                [event](ExecNode&, Made& made) { return make_record(event, made); });
}
CUresult wait_set(CUgraphExec exec, CUgraphNode node, CUevent event) {
  return change(exec, node, CU_GRAPH_NODE_TYPE_WAIT_EVENT,
                [event](ExecNode&, Made& made) { return make_wait(event, made); });
}
CUresult batch_set(CUgraphExec exec, CUgraphNode node, const CUDA_BATCH_MEM_OP_NODE_PARAMS* in) {
  return change(exec, node, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
                [in](ExecNode&, Made& made) { return make_batch(in, made); });
}

CUresult set_any(CUgraphExec handle, CUgraphNode node, CUgraphNodeParams* in) {
  if (in == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (in->type == CU_GRAPH_NODE_TYPE_GRAPH) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  Context* context = nullptr;
  {
    Entry entry;
    if (const CUresult ready = node_context(entry, nullptr, &context); ready != CUDA_SUCCESS) {
      return ready;
    }
  }
  return change(handle, node, in->type, [in, context](ExecNode&, Made& made) {
    std::shared_ptr<Graph> child;
    return make_any(*context, *in, made, child);
  });
}

bool may_be_disabled(CUgraphNodeType type) noexcept {
  return type == CU_GRAPH_NODE_TYPE_KERNEL || type == CU_GRAPH_NODE_TYPE_MEMCPY ||
         type == CU_GRAPH_NODE_TYPE_MEMSET;
}

CUresult set_enabled(CUgraphExec handle, CUgraphNode node_handle, unsigned enabled) {
  Entry entry;
  std::shared_ptr<GraphExec> exec;
  if (const CUresult result = enter(entry, handle, exec); result != CUDA_SUCCESS) {
    return result;
  }
  ExecNode* node = find_node(*exec, node_handle);
  if (node == nullptr || !may_be_disabled(node->type)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  node->enabled = enabled != 0;
  return CUDA_SUCCESS;
}

CUresult get_enabled(CUgraphExec handle, CUgraphNode node_handle, unsigned* enabled) {
  Entry entry;
  std::shared_ptr<GraphExec> exec;
  if (const CUresult result = enter(entry, handle, exec); result != CUDA_SUCCESS) {
    return result;
  }
  const ExecNode* node = find_node(*exec, node_handle);
  if (enabled == nullptr || node == nullptr || !may_be_disabled(node->type)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *enabled = node->enabled ? 1 : 0;
  return CUDA_SUCCESS;
}

// Two executable graphs of one shape: same nodes, same edges, kernels of the same function.
CUgraphExecUpdateResult compare(const GraphExec& old, const GraphExec& fresh) {
  if (old.nodes.size() != fresh.nodes.size()) {
    return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
  }
  for (std::size_t i = 0; i < old.nodes.size(); ++i) {
    const ExecNode& before = old.nodes[i];
    const ExecNode& after = fresh.nodes[i];
    if (before.type != after.type) {
      return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
    }
    if (before.dependencies != after.dependencies) {
      return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    }
  }
  return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

CUresult update(CUgraphExec handle, CUgraph graph_handle, CUgraphExecUpdateResultInfo* info) {
  Entry entry;
  std::shared_ptr<GraphExec> exec;
  if (const CUresult result = enter(entry, handle, exec); result != CUDA_SUCCESS) {
    return result;
  }
  const Graph* graph = runtime().graphs.find(handle_bits(graph_handle));
  if (graph == nullptr || info == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  GraphExec fresh;
  if (const CUresult result = instantiate_graph(*graph, fresh); result != CUDA_SUCCESS) {
    return result;
  }
  *info = {};
  info->result = compare(*exec, fresh);
  if (info->result != CU_GRAPH_EXEC_UPDATE_SUCCESS) {
    forget_graph(*fresh.source);
    return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
  }
  // Node handles of the original graph stay valid for later changes: only the work is replaced.
  for (std::size_t i = 0; i < exec->nodes.size(); ++i) {
    exec->nodes[i].operation = std::move(fresh.nodes[i].operation);
  }
  std::swap(exec->source, fresh.source);
  forget_graph(*fresh.source);
  return CUDA_SUCCESS;
}

}  // namespace

void fill_graph_exec_calls(DriverTable& table) {
  table.cuGraphInstantiate = instantiate;
  table.cuGraphInstantiateWithFlags = instantiate_with_flags;
  table.cuGraphInstantiateWithParams = instantiate_with_params;
  table.cuGraphLaunch = launch;
  table.cuGraphUpload = upload;
  table.cuGraphExecDestroy = destroy;
  table.cuGraphExecGetFlags = get_flags;
  table.cuGraphExecKernelNodeSetParams = kernel_set;
  table.cuGraphExecMemcpyNodeSetParams = memcpy_set;
  table.cuGraphExecMemsetNodeSetParams = memset_set;
  table.cuGraphExecHostNodeSetParams = host_set;
  table.cuGraphExecEventRecordNodeSetEvent = record_set;
  table.cuGraphExecEventWaitNodeSetEvent = wait_set;
  table.cuGraphExecBatchMemOpNodeSetParams = batch_set;
  table.cuGraphExecNodeSetParams = set_any;
  table.cuGraphNodeSetEnabled = set_enabled;
  table.cuGraphNodeGetEnabled = get_enabled;
  table.cuGraphExecUpdate = update;
}

}  // namespace phos::sim
