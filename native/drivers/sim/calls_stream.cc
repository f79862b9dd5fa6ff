// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "drivers/sim/calls.h"
#include "drivers/sim/capture.h"
#include "drivers/sim/device_facts.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/operations.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

CUresult stream_create_with_priority(CUstream* out, unsigned flags, int priority) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr || (flags & ~static_cast<unsigned>(CU_STREAM_NON_BLOCKING)) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Runtime& all = runtime();
  const auto stream = all.create_stream(entry.context(), StreamKind::created, flags,
                                        std::clamp(priority, kGreatestPriority, 0));
  stream->handle = all.streams.add(stream);
  if (stream->handle == 0) {
    entry.context().streams.pop_back();
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *out = as_handle<CUstream>(stream->handle);
  return CUDA_SUCCESS;
}

CUresult stream_create(CUstream* out, unsigned flags) {
  return stream_create_with_priority(out, flags, 0);
}

// Does not wait: what is queued still runs, and the stream goes when that is done.
CUresult stream_destroy(CUstream handle) {
  Entry entry;
  if (const CUresult ready = entry.initialised(); ready != CUDA_SUCCESS) {
    return ready;
  }
  const std::shared_ptr<Stream> stream = runtime().streams.remove(handle_bits(handle));
  if (!stream) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  abandon_capture(*stream);
  if (stream->active) {
    stream->keep_alive = stream;
  } else {
    auto& all = stream->context->streams;
    all.erase(std::remove(all.begin(), all.end(), stream.get()), all.end());
  }
  return CUDA_SUCCESS;
}

// The way into calls about one stream. With sticky errors, unless the call only asks for facts.
CUresult enter(Entry& entry, CUstream handle, Stream** stream) {
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  *stream = find_stream(entry, handle);
  return *stream == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult stream_query(CUstream handle) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (stream->capture) {
    return capture_forbids(*stream);
  }
  // For the legacy stream this includes what the blocking streams still have to do.
  const bool idle = stream->kind == StreamKind::legacy ? runtime().scheduler.is_idle(*stream)
                                                       : stream->idle();
  if (idle) {
    return CUDA_SUCCESS;
  }
  runtime().scheduler.demand();
  return CUDA_ERROR_NOT_READY;
}

CUresult stream_synchronize(CUstream handle) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (stream->capture) {
    return capture_forbids(*stream);
  }
  if (const CUresult legal = check_not_captured(*stream); legal != CUDA_SUCCESS) {
    return legal;
  }
  return synchronise(entry, *stream);
}

CUresult stream_wait_event(CUstream handle, CUevent event_handle, unsigned flags) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if ((flags & ~static_cast<unsigned>(CU_EVENT_WAIT_EXTERNAL)) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::shared_ptr<Event> event = runtime().events.share(handle_bits(event_handle));
  if (!event) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (stream->capture && (flags & CU_EVENT_WAIT_EXTERNAL) != 0) {
    return submit(entry, *stream, std::make_unique<WaitOperation>(event));
  }
  if (stream->capture || event->capture) {
    return capture_wait(*stream, *event);
  }
  if (!event->fence) {
    return CUDA_SUCCESS;  // never recorded, or long done
  }
  return submit(entry, *stream, std::make_unique<WaitOperation>(event->fence));
}

CUresult launch_host_func(CUstream handle, CUhostFn function, void* data) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (function == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return submit(entry, *stream, std::make_unique<HostOperation>(function, data));
}

CUresult stream_add_callback(CUstream handle, CUstreamCallback callback, void* data,
                             unsigned flags) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (callback == nullptr || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (stream->capture) {
    return capture_forbids(*stream);
  }
  return submit(entry, *stream, std::make_unique<HostOperation>(callback, handle, data));
}

bool is_known_operation(CUstreamBatchMemOpType type) noexcept {
  switch (type) {
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
    case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
    case CU_STREAM_MEM_OP_BARRIER:
      return true;
    default:
      return false;
  }
}

CUresult batch(CUstream handle, std::vector<CUstreamBatchMemOpParams> list) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  for (const CUstreamBatchMemOpParams& one : list) {
    if (!is_known_operation(one.operation)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const bool wide = one.operation == CU_STREAM_MEM_OP_WAIT_VALUE_64 ||
                      one.operation == CU_STREAM_MEM_OP_WRITE_VALUE_64;
    const bool touches = wide || one.operation == CU_STREAM_MEM_OP_WAIT_VALUE_32 ||
                         one.operation == CU_STREAM_MEM_OP_WRITE_VALUE_32;
    const std::uint64_t bytes = wide ? 8 : 4;
    if (touches && (one.waitValue.address % bytes != 0 ||
                    !runtime().memory->covers(one.waitValue.address, bytes))) {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return submit(entry, *stream, std::make_unique<MemoryOperation>(std::move(list)));
}

CUstreamBatchMemOpParams word(CUstreamBatchMemOpType type, CUdeviceptr address,
                              std::uint64_t value, unsigned flags) {
  CUstreamBatchMemOpParams one{};
  // Waits and writes have one layout, so one of the two views will do.
  one.waitValue.operation = type;
  one.waitValue.address = address;
  one.waitValue.value64 = value;
  one.waitValue.flags = flags;
  return one;
}

CUresult wait_value_32(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned flags) {
  return batch(stream, {word(CU_STREAM_MEM_OP_WAIT_VALUE_32, address, value, flags)});
}
CUresult wait_value_64(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned flags) {
  return batch(stream, {word(CU_STREAM_MEM_OP_WAIT_VALUE_64, address, value, flags)});
}
CUresult write_value_32(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned flags) {
  return batch(stream, {word(CU_STREAM_MEM_OP_WRITE_VALUE_32, address, value, flags)});
}
CUresult write_value_64(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned flags) {
  return batch(stream, {word(CU_STREAM_MEM_OP_WRITE_VALUE_64, address, value, flags)});
}
CUresult batch_mem_op(CUstream stream, unsigned count, CUstreamBatchMemOpParams* list,
                      unsigned flags) {
  if (list == nullptr || count == 0 || count > 256 || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return batch(stream, {list, list + count});
}

CUresult stream_get_priority(CUstream handle, int* priority) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (priority == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *priority = stream->priority;
  return CUDA_SUCCESS;
}

CUresult stream_get_flags(CUstream handle, unsigned* flags) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (flags == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *flags = stream->flags;
  return CUDA_SUCCESS;
}

CUresult stream_get_id(CUstream handle, unsigned long long* id) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (id == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *id = stream->id;
  return CUDA_SUCCESS;
}

CUresult stream_get_device(CUstream handle, CUdevice* device) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (device == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *device = stream->context->device->ordinal;
  return CUDA_SUCCESS;
}

CUresult stream_get_context(CUstream handle, CUcontext* context, CUgreenCtx* green) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (context == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *context = as_handle<CUcontext>(stream->context->handle);
  if (green != nullptr) {
    *green = nullptr;
  }
  return CUDA_SUCCESS;
}

CUresult stream_get_attribute(CUstream handle, CUstreamAttrID attribute,
                              CUstreamAttrValue* value) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (value == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  switch (attribute) {
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
      value->accessPolicyWindow = stream->access_policy;
      return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
      value->syncPolicy = static_cast<CUsynchronizationPolicy>(stream->sync_policy);
      return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
      value->priority = stream->priority;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult stream_set_attribute(CUstream handle, CUstreamAttrID attribute,
                              const CUstreamAttrValue* value) {
  Entry entry;
  Stream* stream = nullptr;
  if (const CUresult result = enter(entry, handle, &stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (value == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  switch (attribute) {
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
      stream->access_policy = value->accessPolicyWindow;
      return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
      stream->sync_policy = value->syncPolicy;
      return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
      stream->priority = std::clamp(value->priority, kGreatestPriority, 0);
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult stream_copy_attributes(CUstream to, CUstream from) {
  Entry entry;
  Stream* target = nullptr;
  if (const CUresult result = enter(entry, to, &target); result != CUDA_SUCCESS) {
    return result;
  }
  const Stream* source = find_stream(entry, from);
  if (source == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  target->access_policy = source->access_policy;
  target->sync_policy = source->sync_policy;
  return CUDA_SUCCESS;
}

}  // namespace

void fill_stream_calls(DriverTable& table) {
  table.cuStreamCreate = stream_create;
  table.cuStreamCreateWithPriority = stream_create_with_priority;
  table.cuStreamDestroy = stream_destroy;
  table.cuStreamQuery = stream_query;
  table.cuStreamSynchronize = stream_synchronize;
  table.cuStreamWaitEvent = stream_wait_event;
  table.cuLaunchHostFunc = launch_host_func;
  table.cuStreamAddCallback = stream_add_callback;
  table.cuStreamWaitValue32 = wait_value_32;
  table.cuStreamWaitValue64 = wait_value_64;
  table.cuStreamWriteValue32 = write_value_32;
  table.cuStreamWriteValue64 = write_value_64;
  table.cuStreamBatchMemOp = batch_mem_op;
  table.cuStreamGetPriority = stream_get_priority;
  table.cuStreamGetFlags = stream_get_flags;
  table.cuStreamGetId = stream_get_id;
  table.cuStreamGetDevice = stream_get_device;
  table.cuStreamGetCtx = stream_get_context;
  table.cuStreamGetAttribute = stream_get_attribute;
  table.cuStreamSetAttribute = stream_set_attribute;
  table.cuStreamCopyAttributes = stream_copy_attributes;
}

}  // namespace phos::sim
