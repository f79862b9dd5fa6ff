// SPDX-License-Identifier: Apache-2.0
// Adding nodes to graphs, and reading and changing what they do.
#include "drivers/sim/calls.h"
#include "drivers/sim/copy_shape.h"
#include "drivers/sim/graph_params.h"
#include "drivers/sim/kernel_operation.h"
#include "drivers/sim/operations.h"
#include "drivers/sim/pool.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

// What a new node belongs to and stands behind.
struct Place {
  std::shared_ptr<Graph> graph;
  std::vector<GraphNode*> dependencies;
};

CUresult find_place(Entry& entry, const CUgraphNode* out, CUgraph handle, const CUgraphNode* list,
                    std::size_t count, Place& place) {
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  place.graph = runtime().graphs.share(handle_bits(handle));
  if (out == nullptr || !place.graph || (list == nullptr && count != 0)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (std::size_t i = 0; i < count; ++i) {
    GraphNode* node = runtime().graph_nodes.find(handle_bits(list[i]));
    if (node == nullptr || node->graph != place.graph.get()) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    place.dependencies.push_back(node);
  }
  return CUDA_SUCCESS;
}

CUresult put(Place& place, CUgraphNodeType type, Made made, CUgraphNode* out) {
  GraphNode* node = add_node(*place.graph, type, std::move(made), place.dependencies);
  if (node == nullptr) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *out = as_handle<CUgraphNode>(node->handle);
  return CUDA_SUCCESS;
}

// Adds a node whose operation `make` builds.
template <class Make>
CUresult add(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies, std::size_t count,
             CUgraphNodeType type, Make make) {
  Entry entry;
  Place place;
  CUresult result = find_place(entry, out, graph, dependencies, count, place);
  Made made;
  if (result == CUDA_SUCCESS) {
    result = make(entry, made);
  }
  return result != CUDA_SUCCESS ? result : put(place, type, std::move(made), out);
}

CUresult add_kernel(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                    std::size_t count, const CUDA_KERNEL_NODE_PARAMS* parameters) {
  const CUresult result = add(
      out, graph, dependencies, count, CU_GRAPH_NODE_TYPE_KERNEL,
      [parameters](Entry& entry, Made& made) {
        if (parameters == nullptr) {
          return CUDA_ERROR_INVALID_VALUE;
        }
        Context* context = nullptr;
        const CUresult ready = node_context(entry, parameters->ctx, &context);
        return ready != CUDA_SUCCESS ? ready : make_kernel(*context, *parameters, made);
      });
  return result;
}

CUresult add_memcpy(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                    std::size_t count, const CUDA_MEMCPY3D* copy, CUcontext /*context*/) {
  return add(out, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEMCPY,
             [copy](Entry&, Made& made) { return make_memcpy(copy, made); });
}

CUresult add_memset(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                    std::size_t count, const CUDA_MEMSET_NODE_PARAMS* parameters,
                    CUcontext /*context*/) {
  return add(out, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEMSET,
             [parameters](Entry&, Made& made) { return make_memset(parameters, made); });
}

CUresult add_host(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                  std::size_t count, const CUDA_HOST_NODE_PARAMS* parameters) {
  return add(out, graph, dependencies, count, CU_GRAPH_NODE_TYPE_HOST,
             [parameters](Entry&, Made& made) { return make_host(parameters, made); });
}

CUresult add_empty(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                   std::size_t count) {
  return add(out, graph, dependencies, count, CU_GRAPH_NODE_TYPE_EMPTY, [](Entry&, Made& made) {
    made = std::make_unique<EmptyOperation>();
    return CUDA_SUCCESS;
  });
}

CUresult add_record(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                    std::size_t count, CUevent event) {
  return add(out, graph, dependencies, count, CU_GRAPH_NODE_TYPE_EVENT_RECORD,
             [event](Entry&, Made& made) { return make_record(event, made); });
}

CUresult add_wait(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                  std::size_t count, CUevent event) {
  return add(out, graph, dependencies, count, CU_GRAPH_NODE_TYPE_WAIT_EVENT,
             [event](Entry&, Made& made) { return make_wait(event, made); });
}

CUresult add_batch(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                   std::size_t count, const CUDA_BATCH_MEM_OP_NODE_PARAMS* parameters) {
  return add(out, graph, dependencies, count, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
             [parameters](Entry&, Made& made) { return make_batch(parameters, made); });
}

// Takes effect at the call: the program needs the address, and the memory stays for as long as the
// context lives.
CUresult add_mem_alloc(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                       std::size_t count, CUDA_MEM_ALLOC_NODE_PARAMS* parameters) {
  return add(out, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEM_ALLOC,
             [parameters](Entry& entry, Made& made) {
               Context* context = nullptr;
               if (parameters == nullptr || parameters->bytesize == 0) {
                 return CUDA_ERROR_INVALID_VALUE;
               }
               CUresult result = node_context(entry, nullptr, &context);
               if (result == CUDA_SUCCESS) {
                 result = allocate_pooled(*context, parameters->bytesize, &parameters->dptr);
               }
               if (result == CUDA_SUCCESS) made = std::make_unique<EmptyOperation>();
               return result;
             });
}

CUresult add_mem_free(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                      std::size_t count, CUdeviceptr address) {
  return add(out, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEM_FREE,
             [address](Entry&, Made& made) {
               if (!is_pooled(address)) return CUDA_ERROR_INVALID_VALUE;
               made = std::make_unique<EmptyOperation>();
               return CUDA_SUCCESS;
             });
}

CUresult put_child(Place& place, std::shared_ptr<Graph> child, CUgraphNode* out) {
  const CUresult result = put(place, CU_GRAPH_NODE_TYPE_GRAPH, nullptr, out);
  if (result == CUDA_SUCCESS) {
    child->parent = place.graph.get();
    runtime().graph_nodes.find(handle_bits(*out))->child = std::move(child);
  }
  return result;
}

// The child is copied: what happens to `child` afterwards does not matter to the node.
CUresult add_child(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                   std::size_t count, CUgraph child) {
  Entry entry;
  Place place;
  if (const CUresult result = find_place(entry, out, graph, dependencies, count, place);
      result != CUDA_SUCCESS) {
    return result;
  }
  const Graph* source = runtime().graphs.find(handle_bits(child));
  if (source == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::shared_ptr<Graph> copy = clone_graph(*source);
  return copy ? put_child(place, std::move(copy), out) : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult add_any(CUgraphNode* out, CUgraph graph, const CUgraphNode* dependencies,
                 const CUgraphEdgeData* /*data*/, std::size_t count,
                 CUgraphNodeParams* parameters) {
  Entry entry;
  Place place;
  if (const CUresult result = find_place(entry, out, graph, dependencies, count, place);
      result != CUDA_SUCCESS) {
    return result;
  }
  if (parameters == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Context* context = nullptr;
  if (const CUresult ready = node_context(entry, nullptr, &context); ready != CUDA_SUCCESS) {
    return ready;
  }
  Made made;
  std::shared_ptr<Graph> child;
  if (const CUresult result = make_any(*context, *parameters, made, child);
      result != CUDA_SUCCESS) {
    return result;
  }
  return child ? put_child(place, std::move(child), out)
               : put(place, parameters->type, std::move(made), out);
}

CUresult enter(Entry& entry, CUgraphNode handle, CUgraphNodeType type, const void* pointer,
               GraphNode** node) {
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  *node = runtime().graph_nodes.find(handle_bits(handle));
  return pointer == nullptr || *node == nullptr || (*node)->type != type
             ? CUDA_ERROR_INVALID_VALUE
             : CUDA_SUCCESS;
}

CUresult kernel_get(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS* out) {
  Entry entry;
  GraphNode* node = nullptr;
  const CUresult result = enter(entry, handle, CU_GRAPH_NODE_TYPE_KERNEL, out, &node);
  if (result == CUDA_SUCCESS) {
    *out = describe_kernel(*node);
  }
  return result;
}

CUresult kernel_set(CUgraphNode handle, const CUDA_KERNEL_NODE_PARAMS* in) {
  Entry entry;
  GraphNode* node = nullptr;
  if (const CUresult result = enter(entry, handle, CU_GRAPH_NODE_TYPE_KERNEL, in, &node);
      result != CUDA_SUCCESS) {
    return result;
  }
  Context& context =
      *static_cast<KernelOperation&>(*node->operation).launch().module->context;
  Made made;
  const CUresult result = make_kernel(context, *in, made);
  if (result == CUDA_SUCCESS) {
    node->operation = std::move(made);
  }
  return result;
}

CUresult memcpy_get(CUgraphNode handle, CUDA_MEMCPY3D* out) {
  Entry entry;
  GraphNode* node = nullptr;
  const CUresult result = enter(entry, handle, CU_GRAPH_NODE_TYPE_MEMCPY, out, &node);
  if (result == CUDA_SUCCESS) {
    *out = describe_shape(static_cast<CopyOperation&>(*node->operation).shape());
  }
  return result;
}

CUresult memset_get(CUgraphNode handle, CUDA_MEMSET_NODE_PARAMS* out) {
  Entry entry;
  GraphNode* node = nullptr;
  const CUresult result = enter(entry, handle, CU_GRAPH_NODE_TYPE_MEMSET, out, &node);
  if (result == CUDA_SUCCESS) {
    const MemsetShape& shape = static_cast<MemsetOperation&>(*node->operation).shape();
    *out = {shape.address,       shape.pitch, shape.value,
            shape.element_bytes, shape.width, shape.height};
  }
  return result;
}

CUresult host_get(CUgraphNode handle, CUDA_HOST_NODE_PARAMS* out) {
  Entry entry;
  GraphNode* node = nullptr;
  const CUresult result = enter(entry, handle, CU_GRAPH_NODE_TYPE_HOST, out, &node);
  if (result == CUDA_SUCCESS) {
    const auto& host = static_cast<HostOperation&>(*node->operation);
    *out = {host.function(), host.data()};
  }
  return result;
}

CUresult record_get(CUgraphNode handle, CUevent* out) {
  Entry entry;
  GraphNode* node = nullptr;
  const CUresult result = enter(entry, handle, CU_GRAPH_NODE_TYPE_EVENT_RECORD, out, &node);
  if (result == CUDA_SUCCESS) {
    *out = as_handle<CUevent>(static_cast<RecordOperation&>(*node->operation).event()->handle);
  }
  return result;
}

CUresult wait_get(CUgraphNode handle, CUevent* out) {
  Entry entry;
  GraphNode* node = nullptr;
  const CUresult result = enter(entry, handle, CU_GRAPH_NODE_TYPE_WAIT_EVENT, out, &node);
  if (result == CUDA_SUCCESS) {
    *out = as_handle<CUevent>(static_cast<WaitOperation&>(*node->operation).event()->handle);
  }
  return result;
}

// Replaces what a node of the type does.
template <class Make>
CUresult change(CUgraphNode handle, CUgraphNodeType type, Make make) {
  Entry entry;
  GraphNode* node = nullptr;
  if (const CUresult result = enter(entry, handle, type, &entry, &node); result != CUDA_SUCCESS) {
    return result;
  }
  Made made;
  const CUresult result = make(made);
  if (result == CUDA_SUCCESS) {
    node->operation = std::move(made);
  }
  return result;
}

CUresult memcpy_set(CUgraphNode handle, const CUDA_MEMCPY3D* in) {
  return change(handle, CU_GRAPH_NODE_TYPE_MEMCPY,
                [in](Made& made) { return make_memcpy(in, made); });
}
CUresult memset_set(CUgraphNode handle, const CUDA_MEMSET_NODE_PARAMS* in) {
  return change(handle, CU_GRAPH_NODE_TYPE_MEMSET,
                [in](Made& made) { return make_memset(in, made); });
}
CUresult host_set(CUgraphNode handle, const CUDA_HOST_NODE_PARAMS* in) {
  return change(handle, CU_GRAPH_NODE_TYPE_HOST,
                [in](Made& made) { return make_host(in, made); });
}
CUresult record_set(CUgraphNode handle, CUevent event) {
  return change(handle, CU_GRAPH_NODE_TYPE_EVENT_RECORD,
                [event](Made& made) { return make_record(event, made); });
}
CUresult wait_set(CUgraphNode handle, CUevent event) {
  return change(handle, CU_GRAPH_NODE_TYPE_WAIT_EVENT,
                [event](Made& made) { return make_wait(event, made); });
}
CUresult batch_set(CUgraphNode handle, const CUDA_BATCH_MEM_OP_NODE_PARAMS* in) {
  return change(handle, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
                [in](Made& made) { return make_batch(in, made); });
}

CUresult set_any(CUgraphNode handle, CUgraphNodeParams* parameters) {
  Entry entry;
  GraphNode* node = nullptr;
  if (parameters == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (const CUresult result = enter(entry, handle, parameters->type, parameters, &node);
      result != CUDA_SUCCESS) {
    return result;
  }
  Context* context = nullptr;
  if (const CUresult ready = node_context(entry, nullptr, &context); ready != CUDA_SUCCESS) {
    return ready;
  }
  Made made;
  std::shared_ptr<Graph> child;
  if (const CUresult result = make_any(*context, *parameters, made, child);
      result != CUDA_SUCCESS) {
    return result;
  }
  if (child) {
    forget_graph(*node->child);
    child->parent = node->graph;
    node->child = std::move(child);
  } else {
    node->operation = std::move(made);
  }
  return CUDA_SUCCESS;
}

}  // namespace

void fill_graph_node_calls(DriverTable& table) {
  table.cuGraphAddKernelNode = add_kernel;
  table.cuGraphAddMemcpyNode = add_memcpy;
  table.cuGraphAddMemsetNode = add_memset;
  table.cuGraphAddHostNode = add_host;
  table.cuGraphAddMemAllocNode = add_mem_alloc;
  table.cuGraphAddMemFreeNode = add_mem_free;
  table.cuGraphAddEmptyNode = add_empty;
  table.cuGraphAddEventRecordNode = add_record;
  table.cuGraphAddEventWaitNode = add_wait;
  table.cuGraphAddBatchMemOpNode = add_batch;
  table.cuGraphAddChildGraphNode = add_child;
  table.cuGraphAddNode = add_any;
  table.cuGraphKernelNodeGetParams = kernel_get;
  table.cuGraphKernelNodeSetParams = kernel_set;
  table.cuGraphMemcpyNodeGetParams = memcpy_get;
  table.cuGraphMemcpyNodeSetParams = memcpy_set;
  table.cuGraphMemsetNodeGetParams = memset_get;
  table.cuGraphMemsetNodeSetParams = memset_set;
  table.cuGraphHostNodeGetParams = host_get;
  table.cuGraphHostNodeSetParams = host_set;
  table.cuGraphEventRecordNodeGetEvent = record_get;
  table.cuGraphEventRecordNodeSetEvent = record_set;
  table.cuGraphEventWaitNodeGetEvent = wait_get;
  table.cuGraphEventWaitNodeSetEvent = wait_set;
  table.cuGraphBatchMemOpNodeSetParams = batch_set;
  table.cuGraphNodeSetParams = set_any;
}

}  // namespace phos::sim
