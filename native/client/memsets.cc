// SPDX-License-Identifier: Apache-2.0
// Fills of device memory. All are asynchronous: CUDA's synchronous ones are too, for device memory.
#include "client/call.h"
#include "client/capture.h"
#include "client/copy_engine.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

struct Fill {
  CUdeviceptr dst;
  std::uint64_t pitch;  // 0 for one row
  std::uint32_t element_bytes;
  std::uint32_t value;
  std::uint64_t width;  // elements
  std::uint64_t height;
};

CUresult fill(const Fill& request, CUstream stream) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  codec::Req_phos_memset command{};
  CUresult status = handle_arg(HandleType::stream, bits_of(stream), true, &command.stream);
  if (status == CUDA_SUCCESS) status = check_submit(command.stream);
  if (status != CUDA_SUCCESS) return status;
  if (request.width == 0 || request.height == 0) return CUDA_SUCCESS;
  if (request.dst % request.element_bytes != 0 || request.pitch % request.element_bytes != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::uint64_t row = 0;
  std::uint64_t span = 0;
  if (__builtin_mul_overflow(request.width, request.element_bytes, &row) ||
      __builtin_mul_overflow(request.pitch, request.height - 1, &span) ||
      __builtin_add_overflow(span, row, &span)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (request.height > 1 && request.pitch < row) return CUDA_ERROR_INVALID_VALUE;
  const Place place = place_of(request.dst, span);
  if (place != Place::device && place != Place::arena) return CUDA_ERROR_INVALID_VALUE;
  command.dst = request.dst;
  command.pitch = request.height == 1 ? 0 : request.pitch;
  command.element_bytes = request.element_bytes;
  command.value = request.value;
  command.width = request.width;
  command.height = request.height;
  return tell(command);
}

CUstream stream_of(StreamMode mode) noexcept {
  return mode == StreamMode::per_thread ? CU_STREAM_PER_THREAD : nullptr;
}

}  // namespace

namespace impl {

CUresult cuMemsetD8(CUdeviceptr dstDevice, unsigned char uc, size_t N, StreamMode stream_mode) {
  return fill({dstDevice, 0, 1, uc, N, 1}, stream_of(stream_mode));
}

CUresult cuMemsetD16(CUdeviceptr dstDevice, unsigned short us, size_t N, StreamMode stream_mode) {
  return fill({dstDevice, 0, 2, us, N, 1}, stream_of(stream_mode));
}

CUresult cuMemsetD32(CUdeviceptr dstDevice, unsigned int ui, size_t N, StreamMode stream_mode) {
  return fill({dstDevice, 0, 4, ui, N, 1}, stream_of(stream_mode));
}

CUresult cuMemsetD2D8(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width,
                      size_t Height, StreamMode stream_mode) {
  return fill({dstDevice, dstPitch, 1, uc, Width, Height}, stream_of(stream_mode));
}

CUresult cuMemsetD2D16(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width,
                       size_t Height, StreamMode stream_mode) {
  return fill({dstDevice, dstPitch, 2, us, Width, Height}, stream_of(stream_mode));
}

CUresult cuMemsetD2D32(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width,
                       size_t Height, StreamMode stream_mode) {
  return fill({dstDevice, dstPitch, 4, ui, Width, Height}, stream_of(stream_mode));
}

CUresult cuMemsetD8Async(CUdeviceptr dstDevice, unsigned char uc, size_t N, CUstream hStream) {
  return fill({dstDevice, 0, 1, uc, N, 1}, hStream);
}

CUresult cuMemsetD16Async(CUdeviceptr dstDevice, unsigned short us, size_t N, CUstream hStream) {
  return fill({dstDevice, 0, 2, us, N, 1}, hStream);
}

CUresult cuMemsetD32Async(CUdeviceptr dstDevice, unsigned int ui, size_t N, CUstream hStream) {
  return fill({dstDevice, 0, 4, ui, N, 1}, hStream);
}

CUresult cuMemsetD2D8Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width,
                           size_t Height, CUstream hStream) {
  return fill({dstDevice, dstPitch, 1, uc, Width, Height}, hStream);
}

CUresult cuMemsetD2D16Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us,
                            size_t Width, size_t Height, CUstream hStream) {
  return fill({dstDevice, dstPitch, 2, us, Width, Height}, hStream);
}

CUresult cuMemsetD2D32Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width,
                            size_t Height, CUstream hStream) {
  return fill({dstDevice, dstPitch, 4, ui, Width, Height}, hStream);
}

}  // namespace impl
}  // namespace phos::client
