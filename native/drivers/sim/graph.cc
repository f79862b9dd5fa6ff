// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/graph.h"

#include <algorithm>
#include <unordered_map>

#include "drivers/sim/graph_operation.h"
#include "drivers/sim/kernel_operation.h"
#include "drivers/sim/operations.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

// Nodes such that each stands behind its dependencies; shorter than the graph if there is a cycle.
std::vector<GraphNode*> in_order(const Graph& graph) {
  std::unordered_map<const GraphNode*, std::size_t> missing;
  std::vector<GraphNode*> order;
  order.reserve(graph.nodes.size());
  for (const auto& node : graph.nodes) {
    missing[node.get()] = node->dependencies.size();
    if (node->dependencies.empty()) {
      order.push_back(node.get());
    }
  }
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (GraphNode* next : order[i]->dependents) {
      if (--missing[next] == 0) {
        order.push_back(next);
      }
    }
  }
  return order;
}

// Appends the nodes of `graph` to `exec`. Roots get `before` as dependencies; the ends of the graph
// come back, so that what follows a child graph can wait for them.
CUresult append(const Graph& graph, const std::vector<std::size_t>& before, GraphExec& exec,
                std::vector<std::size_t>& ends) {
  const std::vector<GraphNode*> order = in_order(graph);
  if (order.size() != graph.nodes.size()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // What stands for a node in the executable graph: itself, or the ends of its child graph.
  std::unordered_map<const GraphNode*, std::vector<std::size_t>> stands_for;
  for (GraphNode* node : order) {
    std::vector<std::size_t> dependencies = node->dependencies.empty() ? before
                                                                       : std::vector<std::size_t>{};
    for (GraphNode* dependency : node->dependencies) {
      const auto& list = stands_for[dependency];
      dependencies.insert(dependencies.end(), list.begin(), list.end());
    }
    if (node->child && !node->child->nodes.empty()) {
      const CUresult result = append(*node->child, dependencies, exec, stands_for[node]);
      if (result != CUDA_SUCCESS) {
        return result;
      }
    } else {
      ExecNode one;
      one.origin = node->handle;
      one.type = node->type;
      one.operation = node->operation ? node->operation->clone()
                                      : std::make_unique<EmptyOperation>();
      one.dependencies = std::move(dependencies);
      stands_for[node] = {exec.nodes.size()};
      exec.nodes.push_back(std::move(one));
    }
    if (node->dependents.empty()) {
      const auto& list = stands_for[node];
      ends.insert(ends.end(), list.begin(), list.end());
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUgraphNodeType node_type(const Operation& operation) noexcept {
  if (dynamic_cast<const KernelOperation*>(&operation) != nullptr) {
    return CU_GRAPH_NODE_TYPE_KERNEL;
  }
  if (dynamic_cast<const CopyOperation*>(&operation) != nullptr) {
    return CU_GRAPH_NODE_TYPE_MEMCPY;
  }
  if (dynamic_cast<const MemsetOperation*>(&operation) != nullptr) {
    return CU_GRAPH_NODE_TYPE_MEMSET;
  }
  if (dynamic_cast<const HostOperation*>(&operation) != nullptr) {
    return CU_GRAPH_NODE_TYPE_HOST;
  }
  if (dynamic_cast<const GraphOperation*>(&operation) != nullptr) {
    return CU_GRAPH_NODE_TYPE_GRAPH;
  }
  if (dynamic_cast<const WaitOperation*>(&operation) != nullptr) {
    return CU_GRAPH_NODE_TYPE_WAIT_EVENT;
  }
  if (dynamic_cast<const RecordOperation*>(&operation) != nullptr) {
    return CU_GRAPH_NODE_TYPE_EVENT_RECORD;
  }
  if (dynamic_cast<const MemoryOperation*>(&operation) != nullptr) {
    return CU_GRAPH_NODE_TYPE_BATCH_MEM_OP;
  }
  if (dynamic_cast<const FreeOperation*>(&operation) != nullptr) {
    return CU_GRAPH_NODE_TYPE_MEM_FREE;
  }
  return CU_GRAPH_NODE_TYPE_EMPTY;
}

std::shared_ptr<Graph> create_graph() {
  auto graph = std::make_shared<Graph>();
  graph->handle = runtime().graphs.add(graph);
  return graph;
}

GraphNode* add_node(Graph& graph, CUgraphNodeType type, std::unique_ptr<Operation> operation,
                    const std::vector<GraphNode*>& dependencies) {
  auto node = std::make_shared<GraphNode>();
  node->graph = &graph;
  node->type = type;
  node->operation = std::move(operation);
  node->handle = runtime().graph_nodes.add(node);
  if (node->handle == 0) {
    return nullptr;
  }
  for (GraphNode* dependency : dependencies) {
    add_edge(*dependency, *node);
  }
  graph.nodes.push_back(node);
  return node.get();
}

bool has_edge(const GraphNode& from, const GraphNode& to) noexcept {
  return std::find(to.dependencies.begin(), to.dependencies.end(), &from) !=
         to.dependencies.end();
}

void add_edge(GraphNode& from, GraphNode& to) {
  if (!has_edge(from, to)) {
    from.dependents.push_back(&to);
    to.dependencies.push_back(&from);
  }
}

void remove_edge(GraphNode& from, GraphNode& to) {
  std::erase(from.dependents, &to);
  std::erase(to.dependencies, &from);
}

bool has_cycle(const Graph& graph) { return in_order(graph).size() != graph.nodes.size(); }

std::shared_ptr<Graph> clone_graph(const Graph& graph) {
  std::shared_ptr<Graph> copy = create_graph();
  std::unordered_map<const GraphNode*, GraphNode*> copies;
  for (const auto& node : graph.nodes) {
    GraphNode* twin = add_node(*copy, node->type,
                               node->operation ? node->operation->clone() : nullptr, {});
    if (twin == nullptr) {
      forget_graph(*copy);
      return nullptr;
    }
    twin->origin = node->handle;
    twin->kernel = node->kernel;
    twin->priority = node->priority;
    if (node->child) {
      twin->child = clone_graph(*node->child);
      if (!twin->child) {
        forget_graph(*copy);
        return nullptr;
      }
      twin->child->parent = copy.get();
    }
    copies[node.get()] = twin;
  }
  for (const auto& node : graph.nodes) {
    for (GraphNode* dependency : node->dependencies) {
      add_edge(*copies[dependency], *copies[node.get()]);
    }
  }
  return copy;
}

void forget_graph(Graph& graph) {
  for (const auto& node : graph.nodes) {
    if (node->child) {
      forget_graph(*node->child);
    }
    runtime().graph_nodes.remove(node->handle);
  }
  runtime().graphs.remove(graph.handle);
}

CUresult instantiate_graph(const Graph& graph, GraphExec& exec) {
  std::vector<std::size_t> ends;
  const CUresult result = append(graph, {}, exec, ends);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  exec.graph = graph.handle;
  exec.source = clone_graph(graph);
  return exec.source ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

std::unique_ptr<Operation> make_graph_launch(const std::shared_ptr<GraphExec>& exec) {
  return std::make_unique<GraphOperation>(exec);
}

}  // namespace phos::sim
