// SPDX-License-Identifier: Apache-2.0
// Streams and events, as far as the client answers or checks for itself.
#include "client/call.h"
#include "client/capture.h"
#include "client/staging.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

constinit std::atomic<std::uint64_t> g_next_stream_id{3};

// The wire form of a stream that work is put on.
CUresult submit_stream(CUstream stream, std::uint64_t* wire) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  const CUresult status = handle_arg(HandleType::stream, bits_of(stream), true, wire);
  return status != CUDA_SUCCESS ? status : check_submit(*wire);
}

CUresult find_stream(CUstream stream, std::uint64_t* wire, StreamInfo** info) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  const CUresult status = handle_arg(HandleType::stream, bits_of(stream), true, wire);
  *info = *wire <= 2 ? nullptr : object_of<StreamInfo>(HandleType::stream, *wire);
  return status;
}

CUresult create_stream(CUstream* stream, unsigned flags, int priority) noexcept {
  if (stream == nullptr || (flags & ~CU_STREAM_NON_BLOCKING) != 0) return CUDA_ERROR_INVALID_VALUE;
  std::uint64_t handle = 0;
  const CUresult status = make_stream(flags, priority, &handle);
  if (status == CUDA_SUCCESS) *stream = pointer_of<CUstream>(handle);
  return status;
}

CUresult record(CUevent event, CUstream stream, unsigned flags) noexcept {
  codec::Req_cuEventRecordWithFlags request{};
  CUresult status = submit_stream(stream, &request.hStream);
  if (status != CUDA_SUCCESS) return status;
  status = handle_arg(HandleType::event, bits_of(event), false, &request.hEvent);
  if (status != CUDA_SUCCESS) return status;
  if ((flags & ~CU_EVENT_RECORD_EXTERNAL) != 0) return CUDA_ERROR_INVALID_VALUE;
  if (flags == 0) {
    note_record(request.hEvent, request.hStream);
    codec::Req_cuEventRecord plain{};
    plain.hEvent = request.hEvent;
    plain.hStream = request.hStream;
    return tell(plain);
  }
  request.flags = flags;
  return tell(request);
}

}  // namespace

CUresult make_stream(unsigned flags, int priority, std::uint64_t* stream) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  const DeviceFacts* facts = device_facts(current_device());
  if (priority > facts->least_priority) priority = facts->least_priority;
  if (priority < facts->greatest_priority) priority = facts->greatest_priority;
  codec::Req_cuStreamCreateWithPriority request{};
  CUresult status = new_handle(HandleType::stream, &request.phStream);
  if (status != CUDA_SUCCESS) return status;
  request.flags = flags;
  request.priority = priority;
  codec::Rep_cuStreamCreateWithPriority reply{};
  auto* info = object_of<StreamInfo>(HandleType::stream, request.phStream);
  status = info == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : ask(request, &reply);
  if (status != CUDA_SUCCESS) {
    drop_handle(HandleType::stream, request.phStream);
    return status;
  }
  info->flags = flags;
  info->priority = priority;
  info->context = current_context();
  info->id.store(0);
  info->capture.store(nullptr);
  *stream = request.phStream;
  return CUDA_SUCCESS;
}

namespace impl {

CUresult cuStreamCreate(CUstream* phStream, unsigned int Flags) {
  return create_stream(phStream, Flags, 0);
}

CUresult cuStreamCreateWithPriority(CUstream* phStream, unsigned int flags, int priority) {
  return create_stream(phStream, flags, priority);
}

CUresult cuStreamGetPriority(CUstream hStream, int* priority) {
  std::uint64_t wire = 0;
  StreamInfo* info = nullptr;
  if (priority == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult s = find_stream(hStream, &wire, &info); s != CUDA_SUCCESS) return s;
  *priority = info == nullptr ? 0 : info->priority;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetFlags(CUstream hStream, unsigned int* flags) {
  std::uint64_t wire = 0;
  StreamInfo* info = nullptr;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult s = find_stream(hStream, &wire, &info); s != CUDA_SUCCESS) return s;
  *flags = info == nullptr ? 0 : info->flags;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetId(CUstream hStream, unsigned long long* streamId) {
  std::uint64_t wire = 0;
  StreamInfo* info = nullptr;
  if (streamId == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult s = find_stream(hStream, &wire, &info); s != CUDA_SUCCESS) return s;
  *streamId = 1;  // the legacy stream
  if (info == nullptr) return CUDA_SUCCESS;
  std::uint64_t none = 0;
  if (info->id.load() == 0) info->id.compare_exchange_strong(none, g_next_stream_id.fetch_add(1));
  *streamId = info->id.load();
  return CUDA_SUCCESS;
}

CUresult cuStreamGetDevice(CUstream hStream, CUdevice* device) {
  std::uint64_t wire = 0;
  StreamInfo* info = nullptr;
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult s = find_stream(hStream, &wire, &info); s != CUDA_SUCCESS) return s;
  const ContextInfo* context = info == nullptr ? nullptr : context_info(info->context);
  *device = context == nullptr ? current_device() : context->device;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx(CUstream hStream, CUcontext* pCtx, CUgreenCtx* pGreenCtx) {
  std::uint64_t wire = 0;
  StreamInfo* info = nullptr;
  if (const CUresult s = find_stream(hStream, &wire, &info); s != CUDA_SUCCESS) return s;
  const std::uint64_t context =
      info == nullptr || info->context == 0 ? current_context() : info->context;
  if (pCtx != nullptr) *pCtx = pointer_of<CUcontext>(context);
  if (pGreenCtx != nullptr) *pGreenCtx = nullptr;
  return CUDA_SUCCESS;
}

CUresult cuStreamQuery(CUstream hStream) {
  codec::Req_cuStreamQuery request{};
  if (const CUresult s = require_context(); s != CUDA_SUCCESS) return s;
  CUresult status = handle_arg(HandleType::stream, bits_of(hStream), true, &request.hStream);
  if (status == CUDA_SUCCESS) status = check_wait(request.hStream);
  if (status != CUDA_SUCCESS) return status;
  codec::Rep_cuStreamQuery reply{};
  return ask(request, &reply);
}

CUresult cuStreamSynchronize(CUstream hStream) {
  codec::Req_cuStreamSynchronize request{};
  if (const CUresult s = require_context(); s != CUDA_SUCCESS) return s;
  CUresult status = handle_arg(HandleType::stream, bits_of(hStream), true, &request.hStream);
  if (status == CUDA_SUCCESS) status = check_wait(request.hStream);
  if (status != CUDA_SUCCESS) return status;
  codec::Rep_cuStreamSynchronize reply{};
  return ask(request, &reply);
}

CUresult cuCtxSynchronize(CUcontext ctx) {
  if (const CUresult s = require_init(); s != CUDA_SUCCESS) return s;
  if (!is_active(ctx == nullptr ? current_context() : bits_of(ctx))) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  if (const CUresult s = check_unsafe(); s != CUDA_SUCCESS) return s;
  codec::Req_cuCtxSynchronize request{};
  codec::Rep_cuCtxSynchronize reply{};
  return ask(request, &reply);
}

CUresult cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int Flags) {
  codec::Req_cuStreamWaitEvent request{};
  if ((Flags & ~CU_EVENT_WAIT_EXTERNAL) != 0) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = submit_stream(hStream, &request.hStream);
  if (status != CUDA_SUCCESS) return status;
  status = handle_arg(HandleType::event, bits_of(hEvent), false, &request.hEvent);
  if (status == CUDA_SUCCESS && any_capture()) {
    status = note_wait(request.hStream, request.hEvent, Flags);
  }
  if (status != CUDA_SUCCESS) return status;
  request.Flags = Flags;
  return tell(request);
}

CUresult cuEventRecord(CUevent hEvent, CUstream hStream) { return record(hEvent, hStream, 0); }

CUresult cuEventRecordWithFlags(CUevent hEvent, CUstream hStream, unsigned int flags) {
  return record(hEvent, hStream, flags);
}

CUresult cuLaunchHostFunc(CUstream hStream, CUhostFn fn, void* userData) {
  codec::Req_phos_host_function request{};
  if (fn == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = submit_stream(hStream, &request.stream);
  if (status != CUDA_SUCCESS) return status;
  const HostFunction function{fn, nullptr, nullptr, userData, is_capturing(request.stream)};
  status = add_host_function(function, &request.id);
  if (status != CUDA_SUCCESS) return status;
  status = tell(request);
  if (status != CUDA_SUCCESS) forget_host_function(request.id);
  return status;
}

CUresult cuStreamAddCallback(CUstream hStream, CUstreamCallback callback, void* userData,
                             unsigned int flags) {
  codec::Req_phos_host_function request{};
  if (callback == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  CUresult status = submit_stream(hStream, &request.stream);
  if (status != CUDA_SUCCESS) return status;
  // Callbacks cannot be captured: 900, and the capture is invalid.
  if (is_capturing(request.stream)) return check_wait(request.stream);
  status = add_host_function({nullptr, callback, hStream, userData, false}, &request.id);
  if (status != CUDA_SUCCESS) return status;
  request.kind = 1;
  status = tell(request);
  if (status != CUDA_SUCCESS) forget_host_function(request.id);
  return status;
}

}  // namespace impl
}  // namespace phos::client
