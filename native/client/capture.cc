// SPDX-License-Identifier: Apache-2.0
#include "client/capture.h"

#include <new>
#include <vector>

#include "client/call.h"
#include "gen/client_impl.h"

namespace phos::client {

struct Capture {
  std::uint64_t id = 0;
  std::uint64_t graph = 0;
  std::uint64_t origin = 0;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  ThreadState* thread = nullptr;
  std::atomic<bool> invalid{false};
};

constinit std::atomic<std::uint32_t> g_active_captures{0};

namespace {

// SAFETY: leaked, see process.h. A Capture is never freed: a stream may still name it while another
// thread ends it, and programs make few.
constinit ring::FutexLock g_lock;
constinit std::vector<Capture*>* g_captures = nullptr;
constinit std::uint64_t g_next_id = 1;

StreamInfo* stream_info(std::uint64_t stream) noexcept {
  return stream <= 2 ? nullptr : object_of<StreamInfo>(HandleType::stream, stream);
}

Capture* find_capture(std::uint64_t id) noexcept {
  Capture* found = nullptr;
  g_lock.lock();
  if (g_captures != nullptr) {
    for (Capture* capture : *g_captures) {
      if (capture->id == id) found = capture;
    }
  }
  g_lock.unlock();
  return found;
}

bool add_capture(Capture* capture) noexcept {
  g_lock.lock();
  if (g_captures == nullptr) g_captures = new (std::nothrow) std::vector<Capture*>();
  const bool added = g_captures != nullptr;
  if (added) {
    capture->id = g_next_id++;
    g_captures->push_back(capture);
    g_active_captures.fetch_add(1);
  }
  g_lock.unlock();
  return added;
}

// Takes the capture off every stream that joined it.
void remove_capture(Capture* capture) noexcept {
  g_lock.lock();
  std::erase(*g_captures, capture);
  g_active_captures.fetch_sub(1);
  g_lock.unlock();
  handles_of(HandleType::stream).for_each([&](std::uint64_t stream) {
    StreamInfo* info = stream_info(stream);
    Capture* mine = capture;
    if (info != nullptr) info->capture.compare_exchange_strong(mine, nullptr);
  });
  if (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) --capture->thread->own_captures;
}

CUresult invalidate(Capture* capture, CUresult error) noexcept {
  capture->invalid.store(true);
  return error;
}

bool is_blocking(std::uint64_t stream) noexcept {
  const StreamInfo* info = stream_info(stream);
  return info != nullptr && (info->flags & CU_STREAM_NON_BLOCKING) == 0;
}

}  // namespace

Capture* capture_of(std::uint64_t stream) noexcept {
  if (!any_capture()) return nullptr;
  const StreamInfo* info = stream_info(stream);
  return info == nullptr ? nullptr : info->capture.load(std::memory_order_acquire);
}

bool is_capturing(std::uint64_t stream) noexcept { return capture_of(stream) != nullptr; }

CUresult check_unsafe_slowly() noexcept {
  const ThreadState& thread = this_thread();
  if (thread.capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  g_lock.lock();
  for (Capture* capture : *g_captures) {
    const bool own = capture->thread == &thread && capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    const bool global = thread.capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                        capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (own || global) result = invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  }
  g_lock.unlock();
  return result;
}

CUresult check_submit_slowly(std::uint64_t stream) noexcept {
  if (stream <= 1) {
    // Work in the legacy stream would wait for every blocking stream, a capturing one included.
    CUresult result = CUDA_SUCCESS;
    g_lock.lock();
    for (Capture* capture : *g_captures) {
      if (is_blocking(capture->origin)) {
        result = invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
      }
    }
    g_lock.unlock();
    return result;
  }
  const Capture* capture = capture_of(stream);
  if (capture == nullptr || !capture->invalid.load()) return CUDA_SUCCESS;
  return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

CUresult check_wait(std::uint64_t stream) noexcept {
  if (!any_capture()) return CUDA_SUCCESS;
  Capture* capture = capture_of(stream);
  if (capture != nullptr) return invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  return stream <= 1 ? check_submit_slowly(stream) : CUDA_SUCCESS;
}

void note_record(std::uint64_t event, std::uint64_t stream) noexcept {
  auto* info = object_of<EventInfo>(HandleType::event, event);
  const Capture* capture = capture_of(stream);
  if (info != nullptr) info->captured_in.store(capture == nullptr ? 0 : capture->id);
}

CUresult note_wait(std::uint64_t stream, std::uint64_t event, unsigned flags) noexcept {
  const auto* info = object_of<EventInfo>(HandleType::event, event);
  const std::uint64_t id = info == nullptr ? 0 : info->captured_in.load();
  Capture* of_event = id == 0 ? nullptr : find_capture(id);
  Capture* of_stream = capture_of(stream);
  if (of_event == nullptr) {
    if (of_stream == nullptr || (flags & CU_EVENT_WAIT_EXTERNAL) != 0) return CUDA_SUCCESS;
    return invalidate(of_stream, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
  }
  if (of_stream == of_event) return CUDA_SUCCESS;
  if (of_stream != nullptr) {
    invalidate(of_event, CUDA_ERROR_STREAM_CAPTURE_MERGE);
    return invalidate(of_stream, CUDA_ERROR_STREAM_CAPTURE_MERGE);
  }
  StreamInfo* target = stream_info(stream);
  if (target == nullptr) return invalidate(of_event, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  target->capture.store(of_event, std::memory_order_release);
  return CUDA_SUCCESS;
}

namespace impl {

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  if (mode == nullptr || *mode < CU_STREAM_CAPTURE_MODE_GLOBAL ||
      *mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::swap(*mode, this_thread().capture_mode);
  return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture(CUstream hStream, CUstreamCaptureMode mode) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (mode < CU_STREAM_CAPTURE_MODE_GLOBAL || mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  codec::Req_phos_begin_capture request{};
  CUresult status = handle_arg(HandleType::stream, bits_of(hStream), true, &request.stream);
  if (status != CUDA_SUCCESS) return status;
  StreamInfo* info = stream_info(request.stream);
  if (info == nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;  // the legacy stream
  if (info->capture.load() != nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  auto* capture = new (std::nothrow) Capture();
  if (capture == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  status = new_handle_under(HandleType::graph, 0, &request.graph);
  if (status != CUDA_SUCCESS) {
    delete capture;
    return status;
  }
  request.mode = static_cast<std::uint32_t>(mode);
  codec::Rep_phos_begin_capture reply{};
  status = ask(request, &reply);
  capture->graph = request.graph;
  capture->origin = request.stream;
  capture->mode = mode;
  capture->thread = &this_thread();
  if (status == CUDA_SUCCESS && !add_capture(capture)) status = CUDA_ERROR_OUT_OF_MEMORY;
  if (status != CUDA_SUCCESS) {
    drop_handle(HandleType::graph, request.graph);
    delete capture;
    return status;
  }
  if (mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) ++this_thread().own_captures;
  info->capture.store(capture, std::memory_order_release);
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream hStream, CUgraph* phGraph) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (phGraph == nullptr) return CUDA_ERROR_INVALID_VALUE;
  codec::Req_phos_end_capture request{};
  CUresult status = handle_arg(HandleType::stream, bits_of(hStream), true, &request.stream);
  if (status != CUDA_SUCCESS) return status;
  Capture* capture = capture_of(request.stream);
  if (capture == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  if (capture->origin != request.stream) {
    return invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  }
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != &this_thread()) {
    return invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
  }
  request.discard = capture->invalid.load() ? 1 : 0;
  remove_capture(capture);
  codec::Rep_phos_end_capture reply{};
  status = ask(request, &reply);
  if (request.discard != 0) status = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  *phGraph = nullptr;
  if (status != CUDA_SUCCESS) {
    drop_handle(HandleType::graph, capture->graph);
    return status;
  }
  *phGraph = pointer_of<CUgraph>(capture->graph);
  return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream hStream, CUstreamCaptureStatus* captureStatus) {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (captureStatus == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::uint64_t stream = 0;
  const CUresult status = handle_arg(HandleType::stream, bits_of(hStream), true, &stream);
  if (status != CUDA_SUCCESS) return status;
  *captureStatus = CU_STREAM_CAPTURE_STATUS_NONE;
  if (!any_capture()) return CUDA_SUCCESS;
  if (stream <= 1) return check_submit_slowly(stream);
  const Capture* capture = capture_of(stream);
  if (capture != nullptr) {
    *captureStatus = capture->invalid.load() ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                             : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  }
  return CUDA_SUCCESS;
}

// Dependencies are not given out: the nodes of a capture have no handles before it ends.
CUresult cuStreamGetCaptureInfo(CUstream hStream, CUstreamCaptureStatus* captureStatus_out,
                                cuuint64_t* id_out, CUgraph* graph_out,
                                const CUgraphNode** dependencies_out,
                                const CUgraphEdgeData** edgeData_out,
                                size_t* numDependencies_out) {
  const CUresult status = impl::cuStreamIsCapturing(hStream, captureStatus_out);
  if (status != CUDA_SUCCESS) return status;
  if (*captureStatus_out != CU_STREAM_CAPTURE_STATUS_ACTIVE) return CUDA_SUCCESS;
  if (dependencies_out != nullptr || edgeData_out != nullptr || numDependencies_out != nullptr) {
    return report_unsupported(CallId::cuStreamGetCaptureInfo);
  }
  std::uint64_t stream = 0;
  handle_arg(HandleType::stream, bits_of(hStream), true, &stream);
  const Capture* capture = capture_of(stream);
  if (capture == nullptr) return CUDA_ERROR_ILLEGAL_STATE;  // another thread has just ended it
  if (id_out != nullptr) *id_out = capture->id;
  if (graph_out != nullptr) *graph_out = pointer_of<CUgraph>(capture->graph);
  return CUDA_SUCCESS;
}

}  // namespace impl
}  // namespace phos::client
