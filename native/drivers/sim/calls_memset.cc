// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/calls.h"
#include "drivers/sim/copy_shape.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

// A memset never waits, not even the call without a stream; only in order with its stream it is.
CUresult run(const MemsetShape& shape, CUstream handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Stream* stream = find_stream(entry, handle);
  if (stream == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (const CUresult result = check_memset(shape); result != CUDA_SUCCESS) {
    return result;
  }
  if (shape.width == 0 || shape.height == 0) {
    return CUDA_SUCCESS;
  }
  return submit(entry, *stream, std::make_unique<MemsetOperation>(shape));
}

template <class T>
CUresult fill(CUdeviceptr target, T value, std::size_t count) {
  return run({target, 0, value, sizeof(T), count, 1}, nullptr);
}
template <class T>
CUresult fill_later(CUdeviceptr target, T value, std::size_t count, CUstream stream) {
  return run({target, 0, value, sizeof(T), count, 1}, stream);
}
template <class T>
CUresult fill_2d(CUdeviceptr target, std::size_t pitch, T value, std::size_t width,
                 std::size_t height) {
  return run({target, pitch, value, sizeof(T), width, height}, nullptr);
}
template <class T>
CUresult fill_2d_later(CUdeviceptr target, std::size_t pitch, T value, std::size_t width,
                       std::size_t height, CUstream stream) {
  return run({target, pitch, value, sizeof(T), width, height}, stream);
}

}  // namespace

void fill_memset_calls(DriverTable& table) {
  table.cuMemsetD8 = fill<unsigned char>;
  table.cuMemsetD16 = fill<unsigned short>;
  table.cuMemsetD32 = fill<unsigned int>;
  table.cuMemsetD8Async = fill_later<unsigned char>;
  table.cuMemsetD16Async = fill_later<unsigned short>;
  table.cuMemsetD32Async = fill_later<unsigned int>;
  table.cuMemsetD2D8 = fill_2d<unsigned char>;
  table.cuMemsetD2D16 = fill_2d<unsigned short>;
  table.cuMemsetD2D32 = fill_2d<unsigned int>;
  table.cuMemsetD2D8Async = fill_2d_later<unsigned char>;
  table.cuMemsetD2D16Async = fill_2d_later<unsigned short>;
  table.cuMemsetD2D32Async = fill_2d_later<unsigned int>;
}

}  // namespace phos::sim
