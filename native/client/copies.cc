// SPDX-License-Identifier: Apache-2.0
// The one-dimensional copies of the driver API.
#include "client/call.h"
#include "client/capture.h"
#include "client/copy_engine.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

CUresult stream_arg(CUstream stream, std::uint64_t* wire) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  const CUresult status = handle_arg(HandleType::stream, bits_of(stream), true, wire);
  return status != CUDA_SUCCESS ? status : check_submit(*wire);
}

CUstream default_stream(StreamMode mode) noexcept {
  return mode == StreamMode::per_thread ? CU_STREAM_PER_THREAD : nullptr;
}

bool is_device_side(Place place) noexcept {
  return place == Place::device || place == Place::arena;
}

// One side must be memory that the device can reach, the other may not: what the names of the calls
// promise. Arena memory counts as either.
CUresult copy_to_device(CUdeviceptr dst, const void* src, size_t bytes, CUstream stream,
                        bool wait) noexcept {
  Copy request{dst, bits_of(src), bytes, 0, wait};
  const CUresult status = stream_arg(stream, &request.stream);
  if (status != CUDA_SUCCESS) return status;
  if (bytes == 0) return CUDA_SUCCESS;
  const Place to = place_of(dst, bytes);
  if (!is_device_side(to) || src == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy(request, to, place_of(request.src, bytes));
}

CUresult copy_to_host(void* dst, CUdeviceptr src, size_t bytes, CUstream stream,
                      bool wait) noexcept {
  Copy request{bits_of(dst), src, bytes, 0, wait};
  const CUresult status = stream_arg(stream, &request.stream);
  if (status != CUDA_SUCCESS) return status;
  if (bytes == 0) return CUDA_SUCCESS;
  const Place from = place_of(src, bytes);
  if (!is_device_side(from) || dst == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy(request, place_of(request.dst, bytes), from);
}

CUresult copy_on_device(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream) noexcept {
  Copy request{dst, src, bytes, 0, false};
  const CUresult status = stream_arg(stream, &request.stream);
  if (status != CUDA_SUCCESS) return status;
  if (bytes == 0) return CUDA_SUCCESS;
  const Place to = place_of(dst, bytes);
  const Place from = place_of(src, bytes);
  if (!is_device_side(to) || !is_device_side(from)) return CUDA_ERROR_INVALID_VALUE;
  return copy(request, to, from);
}

CUresult copy_unified(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream,
                      bool wait) noexcept {
  Copy request{dst, src, bytes, 0, wait};
  const CUresult status = stream_arg(stream, &request.stream);
  if (status != CUDA_SUCCESS) return status;
  if (bytes == 0) return CUDA_SUCCESS;
  if (dst == 0 || src == 0) return CUDA_ERROR_INVALID_VALUE;
  const Place to = place_of(dst, bytes);
  const Place from = place_of(src, bytes);
  // Copies within the device are asynchronous even in the synchronous calls.
  if (to == Place::device && from == Place::device) request.wait = false;
  return copy(request, to, from);
}

}  // namespace

namespace impl {

CUresult cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, StreamMode stream_mode) {
  return copy_unified(dst, src, ByteCount, default_stream(stream_mode), true);
}

CUresult cuMemcpyHtoD(CUdeviceptr dstDevice, const void* srcHost, size_t ByteCount,
                      StreamMode stream_mode) {
  return copy_to_device(dstDevice, srcHost, ByteCount, default_stream(stream_mode), true);
}

CUresult cuMemcpyDtoH(void* dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                      StreamMode stream_mode) {
  return copy_to_host(dstHost, srcDevice, ByteCount, default_stream(stream_mode), true);
}

CUresult cuMemcpyDtoD(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                      StreamMode stream_mode) {
  return copy_on_device(dstDevice, srcDevice, ByteCount, default_stream(stream_mode));
}

// Contexts of one device share its memory; an executor has one device.
CUresult cuMemcpyPeer(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                      CUcontext srcContext, size_t ByteCount, StreamMode stream_mode) {
  if (!is_active(bits_of(dstContext)) || !is_active(bits_of(srcContext))) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  return copy_on_device(dstDevice, srcDevice, ByteCount, default_stream(stream_mode));
}

CUresult cuMemcpyPeerAsync(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                           CUcontext srcContext, size_t ByteCount, CUstream hStream) {
  if (!is_active(bits_of(dstContext)) || !is_active(bits_of(srcContext))) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  return copy_on_device(dstDevice, srcDevice, ByteCount, hStream);
}

CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream) {
  return copy_unified(dst, src, ByteCount, hStream, false);
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr dstDevice, const void* srcHost, size_t ByteCount,
                           CUstream hStream) {
  return copy_to_device(dstDevice, srcHost, ByteCount, hStream, false);
}

CUresult cuMemcpyDtoHAsync(void* dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                           CUstream hStream) {
  return copy_to_host(dstHost, srcDevice, ByteCount, hStream, false);
}

// One after the other in the stream, which is one of the orders that CUDA allows. Attributes of
// each entry but the order in which its source may be read are hints.
CUresult cuMemcpyBatchAsync(CUdeviceptr* dsts, CUdeviceptr* srcs, size_t* sizes, size_t count,
                            CUmemcpyAttributes* attrs, size_t* attrsIdxs, size_t numAttrs,
                            CUstream hStream) {
  if (dsts == nullptr || srcs == nullptr || sizes == nullptr || attrs == nullptr ||
      attrsIdxs == nullptr || count == 0 || numAttrs == 0 || numAttrs > count ||
      attrsIdxs[0] != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::size_t which = 0;
  for (std::size_t i = 0; i < count; ++i) {
    while (which + 1 < numAttrs && attrsIdxs[which + 1] <= i) ++which;
    const bool wait = attrs[which].srcAccessOrder == CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL;
    const CUresult status = copy_unified(dsts[i], srcs[i], sizes[i], hStream, wait);
    if (status != CUDA_SUCCESS) return status;
  }
  return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                           CUstream hStream) {
  return copy_on_device(dstDevice, srcDevice, ByteCount, hStream);
}

}  // namespace impl
}  // namespace phos::client
