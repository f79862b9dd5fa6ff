// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "drivers/sim/calls.h"
#include "drivers/sim/capture.h"
#include "drivers/sim/graph.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

std::uint64_t g_next_capture = 1;  // guarded by the runtime lock

CUresult enter(Entry& entry, CUstream handle, Stream** stream) {
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  *stream = find_stream(entry, handle);
  return *stream == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

// Looks the nodes up; all must belong to the graph.
CUresult find_nodes(const Graph& graph, const CUgraphNode* list, std::size_t count,
                    std::vector<GraphNode*>& nodes) {
  if (list == nullptr && count != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (std::size_t i = 0; i < count; ++i) {
    GraphNode* node = runtime().graph_nodes.find(handle_bits(list[i]));
    if (node == nullptr || node->graph != &graph) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    nodes.push_back(node);
  }
  return CUDA_SUCCESS;
}

CUresult begin(Stream& stream, std::shared_ptr<Graph> graph, bool into_existing,
               CUstreamCaptureMode mode, std::vector<GraphNode*> tail) {
  auto capture = std::make_shared<Capture>();
  capture->id = g_next_capture++;
  capture->graph = std::move(graph);
  capture->mode = mode;
  capture->thread = thread_number();
  capture->origin = &stream;
  capture->into_existing = into_existing;
  capture->streams = {&stream};
  capture->first_node = capture->graph->nodes.size();
  stream.capture = std::move(capture);
  stream.capture_tail = std::move(tail);
  ++stream.context->captures;
  return CUDA_SUCCESS;
}

CUresult check_begin(const Stream& stream, CUstreamCaptureMode mode) {
  if (mode != CU_STREAM_CAPTURE_MODE_GLOBAL && mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL &&
      mode != CU_STREAM_CAPTURE_MODE_RELAXED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (stream.kind == StreamKind::legacy) {
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return stream.capture ? CUDA_ERROR_ILLEGAL_STATE : CUDA_SUCCESS;
}

CUresult begin_capture(CUstream handle, CUstreamCaptureMode mode) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (const CUresult result = check_begin(*stream, mode); result != CUDA_SUCCESS) {
    return result;
  }
  return begin(*stream, create_graph(), false, mode, {});
}

CUresult begin_capture_to_graph(CUstream handle, CUgraph graph_handle,
                                const CUgraphNode* dependencies,
                                const CUgraphEdgeData* /*data*/, std::size_t count,
                                CUstreamCaptureMode mode) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (const CUresult result = check_begin(*stream, mode); result != CUDA_SUCCESS) {
    return result;
  }
  std::shared_ptr<Graph> graph = runtime().graphs.share(handle_bits(graph_handle));
  std::vector<GraphNode*> tail;
  if (!graph) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (const CUresult result = find_nodes(*graph, dependencies, count, tail);
      result != CUDA_SUCCESS) {
    return result;
  }
  return begin(*stream, std::move(graph), true, mode, std::move(tail));
}

// A stream that forked from the origin must have come back: nothing captured may be left that the
// origin does not stand behind.
bool is_joined(const Capture& capture) {
  const auto& tail = capture.origin->capture_tail;
  const auto& nodes = capture.graph->nodes;
  return std::all_of(nodes.begin() + static_cast<std::ptrdiff_t>(capture.first_node), nodes.end(),
                     [&tail](const std::shared_ptr<GraphNode>& node) {
                       return !node->dependents.empty() ||
                              std::find(tail.begin(), tail.end(), node.get()) != tail.end();
                     });
}

CUresult end_capture(CUstream handle, CUgraph* out) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = nullptr;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (!capture) {
    return CUDA_ERROR_ILLEGAL_STATE;
  }
  if (capture->origin != stream) {
    return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  }
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != thread_number()) {
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  }
  CUresult result = CUDA_SUCCESS;
  if (capture->invalid) {
    result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  } else if (!is_joined(*capture)) {
    result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  }
  capture->ended = true;
  for (Stream* one : capture->streams) {
    one->capture = nullptr;
    one->capture_tail.clear();
    --one->context->captures;
  }
  capture->streams.clear();
  if (result == CUDA_SUCCESS) {
    *out = as_handle<CUgraph>(capture->graph->handle);
  } else if (!capture->into_existing) {
    forget_graph(*capture->graph);
  }
  return result;
}

CUstreamCaptureStatus status_of(const Stream& stream) noexcept {
  if (!stream.capture) {
    return CU_STREAM_CAPTURE_STATUS_NONE;
  }
  return stream.capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                 : CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

CUresult is_capturing(CUstream handle, CUstreamCaptureStatus* status) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (status == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // The legacy stream itself never captures; asking about it while a blocking stream does is an
  // error that leaves the capture as it is.
  if (stream->kind == StreamKind::legacy) {
    for (const Stream* other : stream->context->streams) {
      if (other->capture && !other->non_blocking) {
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
      }
    }
  }
  *status = status_of(*stream);
  return CUDA_SUCCESS;
}

CUresult get_capture_info(CUstream handle, CUstreamCaptureStatus* status, cuuint64_t* id,
                          CUgraph* graph, const CUgraphNode** dependencies,
                          const CUgraphEdgeData** edges, std::size_t* count) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (status == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *status = status_of(*stream);
  if (edges != nullptr) {
    *edges = nullptr;
  }
  if (!stream->capture) {
    return CUDA_SUCCESS;
  }
  if (id != nullptr) {
    *id = stream->capture->id;
  }
  if (graph != nullptr) {
    *graph = as_handle<CUgraph>(stream->capture->graph->handle);
  }
  stream->capture_report.clear();
  for (const GraphNode* node : stream->capture_tail) {
    stream->capture_report.push_back(as_handle<CUgraphNode>(node->handle));
  }
  if (dependencies != nullptr) {
    *dependencies = stream->capture_report.data();
  }
  if (count != nullptr) {
    *count = stream->capture_report.size();
  }
  return CUDA_SUCCESS;
}

CUresult update_dependencies(CUstream handle, CUgraphNode* list,
                             const CUgraphEdgeData* /*data*/, std::size_t count,
                             unsigned flags) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (!stream->capture) {
    return CUDA_ERROR_ILLEGAL_STATE;
  }
  if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::vector<GraphNode*> nodes;
  if (const CUresult result = find_nodes(*stream->capture->graph, list, count, nodes);
      result != CUDA_SUCCESS) {
    return result;
  }
  if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES) {
    stream->capture_tail.clear();
  }
  for (GraphNode* node : nodes) {
    auto& tail = stream->capture_tail;
    if (std::find(tail.begin(), tail.end(), node) == tail.end()) {
      tail.push_back(node);
    }
  }
  return CUDA_SUCCESS;
}

CUresult exchange_mode(CUstreamCaptureMode* mode) {
  if (mode == nullptr || *mode < CU_STREAM_CAPTURE_MODE_GLOBAL ||
      *mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::swap(this_thread().capture_mode, *mode);
  return CUDA_SUCCESS;
}

}  // namespace

void fill_capture_calls(DriverTable& table) {
  table.cuStreamBeginCapture = begin_capture;
  table.cuStreamBeginCaptureToGraph = begin_capture_to_graph;
  table.cuStreamEndCapture = end_capture;
  table.cuStreamIsCapturing = is_capturing;
  table.cuStreamGetCaptureInfo = get_capture_info;
  table.cuStreamUpdateCaptureDependencies = update_dependencies;
  table.cuThreadExchangeStreamCaptureMode = exchange_mode;
}

}  // namespace phos::sim
