// SPDX-License-Identifier: Apache-2.0
// Graphs as such: making, copying, looking at them, their edges.
#include <algorithm>

#include "drivers/sim/calls.h"
#include "drivers/sim/graph.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

CUresult enter(Entry& entry, CUgraph handle, std::shared_ptr<Graph>& graph) {
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  graph = runtime().graphs.share(handle_bits(handle));
  return graph ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult enter(Entry& entry, CUgraphNode handle, GraphNode** node) {
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  *node = runtime().graph_nodes.find(handle_bits(handle));
  return *node == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult create(CUgraph* out, unsigned flags) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = as_handle<CUgraph>(create_graph()->handle);
  return CUDA_SUCCESS;
}

CUresult destroy(CUgraph handle) {
  Entry entry;
  std::shared_ptr<Graph> graph;
  if (const CUresult result = enter(entry, handle, graph); result != CUDA_SUCCESS) {
    return result;
  }
  if (graph->parent != nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  forget_graph(*graph);
  return CUDA_SUCCESS;
}

CUresult clone(CUgraph* out, CUgraph handle) {
  Entry entry;
  std::shared_ptr<Graph> graph;
  if (const CUresult result = enter(entry, handle, graph); result != CUDA_SUCCESS) {
    return result;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::shared_ptr<Graph> copy = clone_graph(*graph);
  if (!copy) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *out = as_handle<CUgraph>(copy->handle);
  return CUDA_SUCCESS;
}

CUresult find_in_clone(CUgraphNode* out, CUgraphNode original, CUgraph handle) {
  Entry entry;
  std::shared_ptr<Graph> graph;
  if (const CUresult result = enter(entry, handle, graph); result != CUDA_SUCCESS) {
    return result;
  }
  const auto found = std::find_if(graph->nodes.begin(), graph->nodes.end(),
                                  [original](const std::shared_ptr<GraphNode>& node) {
                                    return node->origin == handle_bits(original);
                                  });
  if (out == nullptr || found == graph->nodes.end()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = as_handle<CUgraphNode>((*found)->handle);
  return CUDA_SUCCESS;
}

CUresult get_type(CUgraphNode handle, CUgraphNodeType* type) {
  Entry entry;
  GraphNode* node = nullptr;
  if (const CUresult result = enter(entry, handle, &node); result != CUDA_SUCCESS) {
    return result;
  }
  if (type == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *type = node->type;
  return CUDA_SUCCESS;
}

// Gives a list as the API does: the count alone when `out` is null, else as many as fit, and nulls
// behind them.
CUresult give(const std::vector<const GraphNode*>& list, CUgraphNode* out, std::size_t* count) {
  if (count == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (out != nullptr) {
    for (std::size_t i = 0; i < *count; ++i) {
      out[i] = i < list.size() ? as_handle<CUgraphNode>(list[i]->handle) : nullptr;
    }
    *count = std::min(*count, list.size());
  } else {
    *count = list.size();
  }
  return CUDA_SUCCESS;
}

CUresult get_nodes(CUgraph handle, CUgraphNode* out, std::size_t* count) {
  Entry entry;
  std::shared_ptr<Graph> graph;
  if (const CUresult result = enter(entry, handle, graph); result != CUDA_SUCCESS) {
    return result;
  }
  std::vector<const GraphNode*> list;
  for (const auto& node : graph->nodes) {
    list.push_back(node.get());
  }
  return give(list, out, count);
}

CUresult get_root_nodes(CUgraph handle, CUgraphNode* out, std::size_t* count) {
  Entry entry;
  std::shared_ptr<Graph> graph;
  if (const CUresult result = enter(entry, handle, graph); result != CUDA_SUCCESS) {
    return result;
  }
  std::vector<const GraphNode*> list;
  for (const auto& node : graph->nodes) {
    if (node->dependencies.empty()) {
      list.push_back(node.get());
    }
  }
  return give(list, out, count);
}

CUresult get_edges(CUgraph handle, CUgraphNode* from, CUgraphNode* to, CUgraphEdgeData* data,
                   std::size_t* count) {
  Entry entry;
  std::shared_ptr<Graph> graph;
  if (const CUresult result = enter(entry, handle, graph); result != CUDA_SUCCESS) {
    return result;
  }
  std::vector<const GraphNode*> sources;
  std::vector<const GraphNode*> targets;
  for (const auto& node : graph->nodes) {
    for (const GraphNode* dependency : node->dependencies) {
      sources.push_back(dependency);
      targets.push_back(node.get());
    }
  }
  if (count == nullptr || (from == nullptr) != (to == nullptr)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (std::size_t i = 0; data != nullptr && from != nullptr && i < *count; ++i) {
    data[i] = {};
  }
  std::size_t wanted = *count;
  give(sources, from, &wanted);
  return give(targets, to, count);
}

CUresult get_dependencies(CUgraphNode handle, CUgraphNode* out, CUgraphEdgeData* data,
                          std::size_t* count) {
  Entry entry;
  GraphNode* node = nullptr;
  if (const CUresult result = enter(entry, handle, &node); result != CUDA_SUCCESS) {
    return result;
  }
  for (std::size_t i = 0; data != nullptr && out != nullptr && count != nullptr && i < *count;
       ++i) {
    data[i] = {};
  }
  return give({node->dependencies.begin(), node->dependencies.end()}, out, count);
}

CUresult get_dependents(CUgraphNode handle, CUgraphNode* out, CUgraphEdgeData* data,
                        std::size_t* count) {
  Entry entry;
  GraphNode* node = nullptr;
  if (const CUresult result = enter(entry, handle, &node); result != CUDA_SUCCESS) {
    return result;
  }
  for (std::size_t i = 0; data != nullptr && out != nullptr && count != nullptr && i < *count;
       ++i) {
    data[i] = {};
  }
  return give({node->dependents.begin(), node->dependents.end()}, out, count);
}

// Finds both ends of every edge; they must be different nodes of the graph.
CUresult find_edges(const Graph& graph, const CUgraphNode* from, const CUgraphNode* to,
                    std::size_t count, std::vector<std::pair<GraphNode*, GraphNode*>>& edges) {
  if (count != 0 && (from == nullptr || to == nullptr)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (std::size_t i = 0; i < count; ++i) {
    GraphNode* source = runtime().graph_nodes.find(handle_bits(from[i]));
    GraphNode* target = runtime().graph_nodes.find(handle_bits(to[i]));
    if (source == nullptr || target == nullptr || source == target || source->graph != &graph ||
        target->graph != &graph) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    edges.emplace_back(source, target);
  }
  return CUDA_SUCCESS;
}

CUresult add_dependencies(CUgraph handle, const CUgraphNode* from, const CUgraphNode* to,
                          const CUgraphEdgeData* /*data*/, std::size_t count) {
  Entry entry;
  std::shared_ptr<Graph> graph;
  if (const CUresult result = enter(entry, handle, graph); result != CUDA_SUCCESS) {
    return result;
  }
  std::vector<std::pair<GraphNode*, GraphNode*>> edges;
  if (const CUresult result = find_edges(*graph, from, to, count, edges);
      result != CUDA_SUCCESS) {
    return result;
  }
  for (const auto& [source, target] : edges) {
    if (has_edge(*source, *target)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  for (const auto& [source, target] : edges) {
    add_edge(*source, *target);
  }
  return CUDA_SUCCESS;
}

CUresult remove_dependencies(CUgraph handle, const CUgraphNode* from, const CUgraphNode* to,
                             const CUgraphEdgeData* /*data*/, std::size_t count) {
  Entry entry;
  std::shared_ptr<Graph> graph;
  if (const CUresult result = enter(entry, handle, graph); result != CUDA_SUCCESS) {
    return result;
  }
  std::vector<std::pair<GraphNode*, GraphNode*>> edges;
  if (const CUresult result = find_edges(*graph, from, to, count, edges);
      result != CUDA_SUCCESS) {
    return result;
  }
  for (const auto& [source, target] : edges) {
    if (!has_edge(*source, *target)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  for (const auto& [source, target] : edges) {
    remove_edge(*source, *target);
  }
  return CUDA_SUCCESS;
}

CUresult destroy_node(CUgraphNode handle) {
  Entry entry;
  GraphNode* found = nullptr;
  if (const CUresult result = enter(entry, handle, &found); result != CUDA_SUCCESS) {
    return result;
  }
  const std::shared_ptr<GraphNode> node = runtime().graph_nodes.remove(handle_bits(handle));
  while (!node->dependencies.empty()) {
    remove_edge(*node->dependencies.back(), *node);
  }
  while (!node->dependents.empty()) {
    remove_edge(*node, *node->dependents.back());
  }
  if (node->child) {
    forget_graph(*node->child);
  }
  std::erase(node->graph->nodes, node);
  return CUDA_SUCCESS;
}

CUresult get_child_graph(CUgraphNode handle, CUgraph* out) {
  Entry entry;
  GraphNode* node = nullptr;
  if (const CUresult result = enter(entry, handle, &node); result != CUDA_SUCCESS) {
    return result;
  }
  if (out == nullptr || !node->child) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = as_handle<CUgraph>(node->child->handle);
  return CUDA_SUCCESS;
}

}  // namespace

void fill_graph_calls(DriverTable& table) {
  table.cuGraphCreate = create;
  table.cuGraphDestroy = destroy;
  table.cuGraphClone = clone;
  table.cuGraphNodeFindInClone = find_in_clone;
  table.cuGraphNodeGetType = get_type;
  table.cuGraphGetNodes = get_nodes;
  table.cuGraphGetRootNodes = get_root_nodes;
  table.cuGraphGetEdges = get_edges;
  table.cuGraphNodeGetDependencies = get_dependencies;
  table.cuGraphNodeGetDependentNodes = get_dependents;
  table.cuGraphAddDependencies = add_dependencies;
  table.cuGraphRemoveDependencies = remove_dependencies;
  table.cuGraphDestroyNode = destroy_node;
  table.cuGraphChildGraphNodeGetGraph = get_child_graph;
}

}  // namespace phos::sim
