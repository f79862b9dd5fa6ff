// SPDX-License-Identifier: Apache-2.0
// Graphs put together node by node, and executables that take over the parameters of a graph.
#include "executor/callbacks.h"
#include "executor/handler_tools.h"
#include "gen/executor_handlers.h"

namespace phos::executor {

namespace {

// What a node does, as the driver takes it.
struct NodeParameters {
  CUDA_KERNEL_NODE_PARAMS kernel{};
  CUDA_MEMCPY3D copy{};
  CUDA_MEMSET_NODE_PARAMS set{};
  CUDA_HOST_NODE_PARAMS host{};
  CUgraph child = nullptr;
  CUevent event = nullptr;
  std::size_t bytes = 0;
  void* extra[5] = {nullptr, nullptr, nullptr, nullptr, nullptr};
};

template <class Request>
CUresult read_kernel(Session& session, const Command& command, const Request& request,
                     NodeParameters& out) {
  std::span<const std::uint8_t> parameters;
  if (!array_of(session, command, request.parameters, &parameters)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const bool is_kernel = is_handle(request.subject) &&
                         handle_type(request.subject) ==
                             static_cast<std::uint8_t>(HandleType::kernel);
  void* real = nullptr;
  const CUresult result = session.resolve_use(
      is_kernel ? HandleType::kernel : HandleType::function, request.subject, &real);
  if (result != CUDA_SUCCESS) return result;
  if (is_kernel) out.kernel.kern = static_cast<CUkernel>(real);
  else out.kernel.func = static_cast<CUfunction>(real);
  out.kernel.gridDimX = request.grid[0];
  out.kernel.gridDimY = request.grid[1];
  out.kernel.gridDimZ = request.grid[2];
  out.kernel.blockDimX = request.block[0];
  out.kernel.blockDimY = request.block[1];
  out.kernel.blockDimZ = request.block[2];
  out.kernel.sharedMemBytes = request.shared_bytes;
  out.bytes = parameters.size();
  if (out.bytes == 0) return CUDA_SUCCESS;
  // SAFETY: the driver reads the block and does not write it; its type is void * by tradition.
  out.extra[0] = CU_LAUNCH_PARAM_BUFFER_POINTER;
  out.extra[1] = const_cast<std::uint8_t*>(parameters.data());
  out.extra[2] = CU_LAUNCH_PARAM_BUFFER_SIZE;
  out.extra[3] = &out.bytes;
  out.extra[4] = CU_LAUNCH_PARAM_END;
  out.kernel.extra = out.extra;
  return CUDA_SUCCESS;
}

template <class Request>
CUresult read_set(Session& session, const Command& command, const Request& request,
                  NodeParameters& out) {
  const std::uint32_t size = request.element_bytes;
  const std::uint64_t width = request.set[2];
  const std::uint64_t height = request.set[3];
  std::uint64_t row = 0;
  std::uint64_t bytes = 0;
  const bool fits = (size == 1 || size == 2 || size == 4) && height != 0 &&
                    !__builtin_mul_overflow(width, std::uint64_t{size}, &row) &&
                    !__builtin_mul_overflow(height - 1, request.set[1], &bytes) &&
                    !__builtin_add_overflow(bytes, row, &bytes);
  if (!fits || place_of(session, request.set[0], bytes) == Place::nowhere) {
    session.protocol_error(command.call(), "a fill names memory that is not the client's");
    return CUDA_ERROR_INVALID_VALUE;
  }
  out.set = {request.set[0], request.set[1], request.value, size, width, height};
  return CUDA_SUCCESS;
}

template <class Request>
CUresult read_parameters(Session& session, const Command& command, const Request& request,
                         NodeParameters& out) {
  void* real = nullptr;
  CUresult result = CUDA_SUCCESS;
  switch (request.kind) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
      return read_kernel(session, command, request, out);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      out.copy = request.copy;
      return prepare_shape(session, command, out.copy);
    case CU_GRAPH_NODE_TYPE_MEMSET:
      return read_set(session, command, request, out);
    case CU_GRAPH_NODE_TYPE_HOST:
      out.host = session.callbacks().as_node(request.subject);
      return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_GRAPH:
      result = session.resolve(HandleType::graph, request.subject, false, &real);
      out.child = static_cast<CUgraph>(real);
      return result;
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      result = session.resolve(HandleType::event, request.subject, false, &real);
      out.event = static_cast<CUevent>(real);
      return result;
    case CU_GRAPH_NODE_TYPE_EMPTY:
      return CUDA_SUCCESS;
    default:
      session.protocol_error(command.call(), "a node of a kind that does not travel");
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult add_node(Session& session, std::uint32_t kind, CUgraphNode* node, CUgraph graph,
                  const std::vector<CUgraphNode>& before, const NodeParameters& parameters) {
  const DriverTable& driver = session.driver();
  const CUgraphNode* first = before.empty() ? nullptr : before.data();
  switch (kind) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
      return driver.cuGraphAddKernelNode(node, graph, first, before.size(), &parameters.kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return driver.cuGraphAddMemcpyNode(node, graph, first, before.size(), &parameters.copy,
                                         session.context());
    case CU_GRAPH_NODE_TYPE_MEMSET:
      return driver.cuGraphAddMemsetNode(node, graph, first, before.size(), &parameters.set,
                                         session.context());
    case CU_GRAPH_NODE_TYPE_HOST:
      return driver.cuGraphAddHostNode(node, graph, first, before.size(), &parameters.host);
    case CU_GRAPH_NODE_TYPE_GRAPH:
      return driver.cuGraphAddChildGraphNode(node, graph, first, before.size(), parameters.child);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return driver.cuGraphAddEventRecordNode(node, graph, first, before.size(),
                                              parameters.event);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return driver.cuGraphAddEventWaitNode(node, graph, first, before.size(), parameters.event);
    default:
      return driver.cuGraphAddEmptyNode(node, graph, first, before.size());
  }
}

CUresult set_in_graph(Session& session, std::uint32_t kind, CUgraphNode node,
                      const NodeParameters& parameters) {
  const DriverTable& driver = session.driver();
  switch (kind) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
      return driver.cuGraphKernelNodeSetParams(node, &parameters.kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return driver.cuGraphMemcpyNodeSetParams(node, &parameters.copy);
    case CU_GRAPH_NODE_TYPE_MEMSET:
      return driver.cuGraphMemsetNodeSetParams(node, &parameters.set);
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}

CUresult set_in_exec(Session& session, std::uint32_t kind, CUgraphExec exec, CUgraphNode node,
                     const NodeParameters& parameters) {
  const DriverTable& driver = session.driver();
  switch (kind) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
      return driver.cuGraphExecKernelNodeSetParams(exec, node, &parameters.kernel);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return driver.cuGraphExecMemcpyNodeSetParams(exec, node, &parameters.copy,
                                                   session.context());
    case CU_GRAPH_NODE_TYPE_MEMSET:
      return driver.cuGraphExecMemsetNodeSetParams(exec, node, &parameters.set,
                                                   session.context());
    case CU_GRAPH_NODE_TYPE_GRAPH:
      return driver.cuGraphExecChildGraphNodeSetParams(exec, node, parameters.child);
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}

// The object came from a graph that is not its parent: that one must be there at a restore too.
void note_made_from(Session& session, Object* object, std::uint64_t graph) {
  const Object* from = session.find(HandleType::graph, graph);
  if (object != nullptr && from != nullptr) object->made_from.push_back(from->creation);
}

}  // namespace

void handle_phos_graph_node_add(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_graph_node_add>(session, command, reply);
  if (request == nullptr) return;
  std::span<const std::uint64_t> wires;
  if (!array_of(session, command, request->dependencies, &wires)) {
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  void* graph = nullptr;
  NodeParameters parameters;
  CUresult result = session.resolve(HandleType::graph, request->graph, false, &graph);
  std::vector<CUgraphNode> before;
  for (const std::uint64_t wire : wires) {
    void* real = nullptr;
    if (result == CUDA_SUCCESS) {
      result = session.resolve(HandleType::graph_node, wire, false, &real);
    }
    before.push_back(static_cast<CUgraphNode>(real));
  }
  if (result == CUDA_SUCCESS) result = read_parameters(session, command, *request, parameters);
  CUgraphNode node = nullptr;
  if (result == CUDA_SUCCESS) {
    result = add_node(session, request->kind, &node, static_cast<CUgraph>(graph), before,
                      parameters);
  }
  if (result == CUDA_SUCCESS) {
    const std::uint64_t parents[] = {request->graph};
    session.create(HandleType::graph_node, request->node, node, command, parents);
    if (request->kind == CU_GRAPH_NODE_TYPE_GRAPH) {
      note_made_from(session, session.find(HandleType::graph_node, request->node),
                     request->subject);
    }
  }
  reply.finish(result);
}

void handle_phos_graph_node_set(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_graph_node_set>(session, command, reply);
  if (request == nullptr) return;
  void* node = nullptr;
  void* exec = nullptr;
  NodeParameters parameters;
  CUresult result = session.resolve(HandleType::graph_node, request->node, false, &node);
  if (result == CUDA_SUCCESS) {
    result = session.resolve(HandleType::graph_exec, request->exec, true, &exec);
  }
  if (result == CUDA_SUCCESS) result = read_parameters(session, command, *request, parameters);
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  const auto real = static_cast<CUgraphNode>(node);
  if (exec == nullptr) {
    result = set_in_graph(session, request->kind, real, parameters);
    if (result == CUDA_SUCCESS) session.mutate(HandleType::graph_node, request->node, command);
  } else {
    result = set_in_exec(session, request->kind, static_cast<CUgraphExec>(exec), real, parameters);
    if (result == CUDA_SUCCESS) session.mutate(HandleType::graph_exec, request->exec, command);
  }
  if (result == CUDA_SUCCESS && request->kind == CU_GRAPH_NODE_TYPE_GRAPH) {
    note_made_from(session, session.find(HandleType::graph_exec, request->exec), request->subject);
  }
  reply.finish(result);
}

void handle_cuGraphExecUpdate(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_cuGraphExecUpdate>(session, command, reply);
  if (request == nullptr) return;
  void* exec = nullptr;
  void* graph = nullptr;
  CUresult result = session.resolve(HandleType::graph_exec, request->exec, false, &exec);
  if (result == CUDA_SUCCESS) {
    result = session.resolve(HandleType::graph, request->graph, false, &graph);
  }
  CUgraphExecUpdateResultInfo info{};
  if (result == CUDA_SUCCESS) {
    result = session.driver().cuGraphExecUpdate(static_cast<CUgraphExec>(exec),
                                                static_cast<CUgraph>(graph), &info);
  }
  if (result == CUDA_SUCCESS) session.update_from(request->exec, request->graph, command);
  codec::Rep_cuGraphExecUpdate answer{};
  answer.result = static_cast<std::uint32_t>(info.result);
  reply.finish(result, &answer, sizeof(answer));
}

}  // namespace phos::executor
