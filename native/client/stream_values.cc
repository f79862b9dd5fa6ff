// SPDX-License-Identifier: Apache-2.0
// Streams that wait for a word of memory, or write one.
#include "client/call.h"
#include "client/capture.h"
#include "client/copy_engine.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

constexpr unsigned kMaxBatch = 256;  // the driver's own limit
constexpr unsigned kWaitFlags = CU_STREAM_WAIT_VALUE_NOR | CU_STREAM_WAIT_VALUE_FLUSH;

template <class Req, class Value>
CUresult send_value(CUstream stream, CUdeviceptr address, Value value, unsigned flags,
                    unsigned known) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  Req request{};
  CUresult status = handle_arg(HandleType::stream, bits_of(stream), true, &request.stream);
  if (status == CUDA_SUCCESS) status = check_submit(request.stream);
  if (status != CUDA_SUCCESS) return status;
  const Place place = place_of(address, sizeof(Value));
  if ((flags & ~known) != 0 || address % sizeof(Value) != 0 ||
      (place != Place::device && place != Place::arena)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  request.addr = address;
  request.value = value;
  request.flags = flags;
  return tell(request);
}

}  // namespace

namespace impl {

CUresult cuStreamWaitValue32(CUstream stream, CUdeviceptr addr, cuuint32_t value,
                             unsigned int flags) {
  return send_value<codec::Req_cuStreamWaitValue32>(stream, addr, value, flags, kWaitFlags | 3);
}

CUresult cuStreamWaitValue64(CUstream stream, CUdeviceptr addr, cuuint64_t value,
                             unsigned int flags) {
  return send_value<codec::Req_cuStreamWaitValue64>(stream, addr, value, flags, kWaitFlags | 3);
}

CUresult cuStreamWriteValue32(CUstream stream, CUdeviceptr addr, cuuint32_t value,
                              unsigned int flags) {
  return send_value<codec::Req_cuStreamWriteValue32>(stream, addr, value, flags,
                                                     CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER);
}

CUresult cuStreamWriteValue64(CUstream stream, CUdeviceptr addr, cuuint64_t value,
                              unsigned int flags) {
  return send_value<codec::Req_cuStreamWriteValue64>(stream, addr, value, flags,
                                                     CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER);
}

CUresult cuStreamBatchMemOp(CUstream stream, unsigned int count,
                            CUstreamBatchMemOpParams* paramArray, unsigned int flags) {
  if (paramArray == nullptr || count == 0 || count > kMaxBatch || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (unsigned i = 0; i < count; ++i) {
    const CUstreamBatchMemOpParams& one = paramArray[i];
    CUresult status = CUDA_SUCCESS;
    switch (one.operation) {
      case CU_STREAM_MEM_OP_WAIT_VALUE_32:
        status = impl::cuStreamWaitValue32(stream, one.waitValue.address, one.waitValue.value,
                                           one.waitValue.flags);
        break;
      case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        status = impl::cuStreamWaitValue64(stream, one.waitValue.address, one.waitValue.value64,
                                           one.waitValue.flags);
        break;
      case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        status = impl::cuStreamWriteValue32(stream, one.writeValue.address, one.writeValue.value,
                                            one.writeValue.flags);
        break;
      case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        status = impl::cuStreamWriteValue64(stream, one.writeValue.address,
                                            one.writeValue.value64, one.writeValue.flags);
        break;
      case CU_STREAM_MEM_OP_BARRIER:  // the stream's own order is one
        break;
      default:
        return report_unsupported(CallId::cuStreamBatchMemOp);
    }
    if (status != CUDA_SUCCESS) return status;
  }
  return CUDA_SUCCESS;
}

}  // namespace impl
}  // namespace phos::client
