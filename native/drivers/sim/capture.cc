// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/capture.h"

#include <algorithm>

#include "drivers/sim/graph.h"
#include "drivers/sim/graph_operation.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {

CUresult capture_operation(Stream& stream, std::unique_ptr<Operation> operation) {
  Capture& capture = *stream.capture;
  if (capture.invalid) {
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  }
  const CUgraphNodeType type = node_type(*operation);
  std::shared_ptr<Graph> child;
  if (type == CU_GRAPH_NODE_TYPE_GRAPH) {
    child = clone_graph(*static_cast<const GraphOperation&>(*operation).exec().source);
    operation = nullptr;
    if (!child) {
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    child->parent = capture.graph.get();
  }
  GraphNode* node = add_node(*capture.graph, type, std::move(operation), stream.capture_tail);
  if (node == nullptr) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  node->child = std::move(child);
  stream.capture_tail = {node};
  return CUDA_SUCCESS;
}

CUresult capture_record(Stream& stream, Event& event) {
  if (stream.capture->invalid) {
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  }
  event.capture = stream.capture;
  event.capture_nodes = stream.capture_tail;
  return CUDA_SUCCESS;
}

CUresult capture_wait(Stream& stream, Event& event) {
  if (stream.capture && stream.capture->invalid) {
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  }
  if (!event.capture) {
    // A capture cannot depend on work that is not part of it.
    if (!event.recorded) {
      return CUDA_SUCCESS;
    }
    stream.capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (event.capture->ended) {
    return CUDA_ERROR_CAPTURED_EVENT;
  }
  if (event.capture->invalid) {
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  }
  if (!stream.capture) {
    if (stream.kind == StreamKind::legacy) {
      event.capture->invalid = true;
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    stream.capture = event.capture;
    stream.capture->streams.push_back(&stream);
    ++stream.context->captures;
  } else if (stream.capture != event.capture) {
    stream.capture->invalid = true;
    event.capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_MERGE;
  }
  for (GraphNode* node : event.capture_nodes) {
    auto& tail = stream.capture_tail;
    if (std::find(tail.begin(), tail.end(), node) == tail.end()) {
      tail.push_back(node);
    }
  }
  return CUDA_SUCCESS;
}

CUresult capture_forbids(Stream& stream) {
  if (stream.capture->invalid) {
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  }
  stream.capture->invalid = true;
  return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult capture_forbids_event(const Event& event) {
  if (!event.capture->ended) {
    event.capture->invalid = true;
  }
  return CUDA_ERROR_CAPTURED_EVENT;
}

void abandon_capture(Stream& stream) {
  if (!stream.capture) {
    return;
  }
  Capture& capture = *stream.capture;
  capture.invalid = true;
  std::erase(capture.streams, &stream);
  if (capture.origin == &stream) {
    // Nobody can end it any more.
    capture.ended = true;
    for (Stream* other : capture.streams) {
      other->capture_tail.clear();
      --other->context->captures;
    }
    const std::vector<Stream*> others = std::move(capture.streams);
    for (Stream* other : others) {
      other->capture = nullptr;
    }
    if (!capture.into_existing) {
      forget_graph(*capture.graph);
    }
  }
  stream.capture_tail.clear();
  stream.capture = nullptr;
  --stream.context->captures;
}

CUresult check_not_captured(Stream& stream) {
  if (stream.kind != StreamKind::legacy || stream.context->captures == 0) {
    return CUDA_SUCCESS;
  }
  CUresult result = CUDA_SUCCESS;
  for (Stream* other : stream.context->streams) {
    if (other->capture && !other->non_blocking) {
      other->capture->invalid = true;
      result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
  }
  return result;
}

}  // namespace phos::sim
