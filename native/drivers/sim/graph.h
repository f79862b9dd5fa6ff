// SPDX-License-Identifier: Apache-2.0
// Graphs: nodes that hold an operation each, and edges. All guarded by the runtime lock.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "drivers/sim/operation.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

struct Graph;

struct GraphNode {
  std::uint64_t handle = 0;
  Graph* graph = nullptr;
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  std::unique_ptr<Operation> operation;  // null for child graphs
  std::shared_ptr<Graph> child;
  std::vector<GraphNode*> dependencies;
  std::vector<GraphNode*> dependents;
  std::uint64_t origin = 0;  // handle of the node that this is a copy of
  std::vector<void*> parameter_pointers;  // what GetParams of a kernel node points at
  CUkernel kernel = nullptr;              // as the program gave it
  int priority = 0;
};

struct Graph {
  std::uint64_t handle = 0;
  std::vector<std::shared_ptr<GraphNode>> nodes;  // in order of creation
  Graph* parent = nullptr;                        // a child graph belongs to its node
};

// A node of an executable graph: child graphs are dissolved.
struct ExecNode {
  std::uint64_t origin = 0;  // handle of the node of the graph
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  std::unique_ptr<Operation> operation;
  std::vector<std::size_t> dependencies;
  bool enabled = true;
};

struct GraphExec {
  std::uint64_t handle = 0;
  std::uint64_t flags = 0;
  std::uint64_t graph = 0;      // handle of the graph it was made of
  std::vector<ExecNode> nodes;  // every node behind those that it depends on
  std::shared_ptr<Graph> source;  // as it was, for captures of a launch
  std::shared_ptr<Fence> last;    // newest launch: launches of one executable graph never overlap
};

// Type of the node that an operation makes.
CUgraphNodeType node_type(const Operation& operation) noexcept;

std::shared_ptr<Graph> create_graph();
GraphNode* add_node(Graph& graph, CUgraphNodeType type, std::unique_ptr<Operation> operation,
                    const std::vector<GraphNode*>& dependencies);
void add_edge(GraphNode& from, GraphNode& to);
bool has_edge(const GraphNode& from, const GraphNode& to) noexcept;
void remove_edge(GraphNode& from, GraphNode& to);
bool has_cycle(const Graph& graph);
// A copy whose nodes remember what they are copies of.
std::shared_ptr<Graph> clone_graph(const Graph& graph);
// Takes the graph and its nodes out of the tables.
void forget_graph(Graph& graph);

// Makes it executable; CUDA_ERROR_INVALID_VALUE if it has a cycle.
CUresult instantiate_graph(const Graph& graph, GraphExec& exec);

// One launch: runs copies of all nodes, each when those before it are done.
std::unique_ptr<Operation> make_graph_launch(const std::shared_ptr<GraphExec>& exec);

}  // namespace phos::sim
