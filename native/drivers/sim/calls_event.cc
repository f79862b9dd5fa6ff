// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/calls.h"
#include "drivers/sim/capture.h"
#include "drivers/sim/operations.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

constexpr unsigned kKnownFlags =
    CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;

CUresult event_create(CUevent* out, unsigned flags) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || (flags & ~kKnownFlags) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if ((flags & CU_EVENT_INTERPROCESS) != 0) {
    return (flags & CU_EVENT_DISABLE_TIMING) == 0 ? CUDA_ERROR_INVALID_VALUE
                                                  : CUDA_ERROR_NOT_SUPPORTED;
  }
  const auto event = std::make_shared<Event>();
  event->context = &entry.context();
  event->flags = flags;
  event->handle = runtime().events.add(event);
  if (event->handle == 0) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *out = as_handle<CUevent>(event->handle);
  return CUDA_SUCCESS;
}

CUresult event_destroy(CUevent handle) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  return runtime().events.remove(handle_bits(handle)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult event_record_with_flags(CUevent handle, CUstream stream_handle, unsigned flags) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Runtime& all = runtime();
  Event* event = all.events.find(handle_bits(handle));
  Stream* stream = find_stream(entry, stream_handle);
  if (event == nullptr || stream == nullptr || event->context != stream->context) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (stream->capture) {
    if ((flags & CU_EVENT_RECORD_EXTERNAL) != 0) {
      return submit(entry, *stream,
                    std::make_unique<RecordOperation>(all.events.share(handle_bits(handle))));
    }
    return capture_record(*stream, *event);
  }
  event->capture = nullptr;
  event->capture_nodes.clear();
  if (all.scheduler.is_idle(*stream) && !all.scheduler.is_seeded()) {
    // Nothing is before it: it is done at once, without the device's thread.
    if (const CUresult legal = check_not_captured(*stream); legal != CUDA_SUCCESS) {
      return legal;
    }
    event->recorded = true;
    event->fence = nullptr;
    event->status = CUDA_SUCCESS;
    event->time_ns = (event->flags & CU_EVENT_DISABLE_TIMING) != 0 ? 0 : now_ns();
    return CUDA_SUCCESS;
  }
  return submit(entry, *stream,
                std::make_unique<RecordOperation>(all.events.share(handle_bits(handle))));
}

CUresult event_record(CUevent handle, CUstream stream) {
  return event_record_with_flags(handle, stream, CU_EVENT_RECORD_DEFAULT);
}

CUresult event_query(CUevent handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const Event* event = runtime().events.find(handle_bits(handle));
  if (event == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (event->capture) {
    return capture_forbids_event(*event);
  }
  if (event->fence) {
    runtime().scheduler.demand();
    return CUDA_ERROR_NOT_READY;
  }
  return event->status;
}

CUresult event_synchronize(CUevent handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const std::shared_ptr<Event> event = runtime().events.share(handle_bits(handle));
  if (!event) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (event->capture) {
    return capture_forbids_event(*event);
  }
  if (!event->fence) {
    return event->status;
  }
  const std::shared_ptr<Fence> fence = event->fence;
  runtime().scheduler.wait(entry.guard(), *fence);
  return fence->status;
}

CUresult event_elapsed_time(float* milliseconds, CUevent start, CUevent end) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (milliseconds == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Event* first = runtime().events.find(handle_bits(start));
  const Event* second = runtime().events.find(handle_bits(end));
  if (first == nullptr || second == nullptr || !first->recorded || !second->recorded ||
      ((first->flags | second->flags) & CU_EVENT_DISABLE_TIMING) != 0) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (first->fence || second->fence) {
    runtime().scheduler.demand();
    return CUDA_ERROR_NOT_READY;
  }
  const auto difference = static_cast<std::int64_t>(second->time_ns - first->time_ns);
  *milliseconds = static_cast<float>(static_cast<double>(difference) * 1e-6);
  return CUDA_SUCCESS;
}

}  // namespace

void fill_event_calls(DriverTable& table) {
  table.cuEventCreate = event_create;
  table.cuEventDestroy = event_destroy;
  table.cuEventRecord = event_record;
  table.cuEventRecordWithFlags = event_record_with_flags;
  table.cuEventQuery = event_query;
  table.cuEventSynchronize = event_synchronize;
  table.cuEventElapsedTime = event_elapsed_time;
}

}  // namespace phos::sim
