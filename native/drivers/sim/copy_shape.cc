// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/copy_shape.h"

#include "drivers/sim/array.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

// One side as the API describes it.
struct Side {
  CUmemorytype type;
  std::uint64_t host;
  CUdeviceptr device;
  CUarray array;
  std::uint64_t x;
  std::uint64_t y;
  std::uint64_t z;
  std::uint64_t pitch;
  std::uint64_t height;
};

// Pinned and registered host memory is translated like device memory.
bool is_known(std::uint64_t address) noexcept {
  return runtime().memory->find(address) != nullptr;
}

// a * b + c, or nothing if that wraps around or leaves the address space.
bool add_product(std::uint64_t& sum, std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t product = 0;
  return !__builtin_mul_overflow(a, b, &product) && !__builtin_add_overflow(sum, product, &sum) &&
         sum <= kMaxAddress;
}

// x counts bytes and the pitch is the array's own; the box must lie inside the array.
CUresult array_endpoint(const Side& side, const CopyShape& shape, Endpoint& endpoint) {
  const Array* array = find_array(side.array);
  if (array == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  const std::uint64_t pitch = array->row_bytes();
  if (side.x + shape.width > pitch || side.y + shape.height > array->rows() ||
      side.z > array->slices() || shape.depth > array->slices() - side.z) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::uint64_t slice = pitch * array->rows();
  endpoint = {true, array->base + side.z * slice + side.y * pitch + side.x, pitch, slice};
  return CUDA_SUCCESS;
}

CUresult endpoint_of(const Side& side, const CopyShape& shape, Endpoint& endpoint,
                     bool& pageable) {
  std::uint64_t base = 0;
  switch (side.type) {
    case CU_MEMORYTYPE_HOST:
      base = side.host;
      break;
    case CU_MEMORYTYPE_DEVICE:
    case CU_MEMORYTYPE_UNIFIED:
      base = side.device;
      break;
    case CU_MEMORYTYPE_ARRAY:
      return array_endpoint(side, shape, endpoint);
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  const std::uint64_t pitch = side.pitch == 0 ? shape.width + side.x : side.pitch;
  const std::uint64_t height = side.height == 0 ? shape.height + side.y : side.height;
  if (base == 0 || pitch < shape.width + side.x || height < shape.height + side.y) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::uint64_t slice = 0;
  std::uint64_t first = base;
  std::uint64_t span = shape.width;
  if (!add_product(slice, pitch, height) || !add_product(first, side.z, slice) ||
      !add_product(first, side.y, pitch) || !add_product(first, side.x, 1) ||
      !add_product(span, shape.height - 1, pitch) || !add_product(span, shape.depth - 1, slice)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  endpoint = {true, first, pitch, slice};
  if (!is_known(first) && side.type != CU_MEMORYTYPE_DEVICE) {
    endpoint.is_device = false;
    pageable = true;
    return CUDA_SUCCESS;
  }
  return runtime().memory->covers(first, span) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

CUresult shape_of(const CUDA_MEMCPY3D& copy, CopyShape& shape, CopySides& sides) {
  shape.width = copy.WidthInBytes;
  shape.height = copy.Height;
  shape.depth = copy.Depth;
  if (shape.width == 0 || shape.height == 0 || shape.depth == 0) {
    shape.width = 0;
    shape.height = 1;
    shape.depth = 1;
    return CUDA_SUCCESS;
  }
  if (shape.width > kMaxAddress || shape.height > kMaxAddress || shape.depth > kMaxAddress ||
      copy.srcXInBytes > kMaxAddress || copy.dstXInBytes > kMaxAddress ||
      copy.srcY > kMaxAddress || copy.dstY > kMaxAddress) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Side source{copy.srcMemoryType, reinterpret_cast<std::uint64_t>(copy.srcHost),
                    copy.srcDevice,     copy.srcArray, copy.srcXInBytes,
                    copy.srcY,          copy.srcZ,
                    copy.srcPitch,      copy.srcHeight};
  const Side target{copy.dstMemoryType, reinterpret_cast<std::uint64_t>(copy.dstHost),
                    copy.dstDevice,     copy.dstArray, copy.dstXInBytes,
                    copy.dstY,          copy.dstZ,
                    copy.dstPitch,      copy.dstHeight};
  const CUresult result = endpoint_of(source, shape, shape.source, sides.source_pageable);
  return result != CUDA_SUCCESS
             ? result
             : endpoint_of(target, shape, shape.destination, sides.destination_pageable);
}

CUresult linear_shape(CUdeviceptr destination, CUdeviceptr source, std::size_t bytes,
                      CopyShape& shape, CopySides& sides) {
  shape.width = bytes;
  if (bytes == 0) {
    return CUDA_SUCCESS;
  }
  const Memory& memory = *runtime().memory;
  const auto place = [&](CUdeviceptr address, Endpoint& endpoint, bool& pageable) {
    endpoint = {true, address, bytes, bytes};
    if (address == 0 || bytes > kMaxAddress || address > kMaxAddress - bytes) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (!is_known(address)) {
      endpoint.is_device = false;
      pageable = true;
      return CUDA_SUCCESS;
    }
    return memory.covers(address, bytes) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  };
  const CUresult result = place(source, shape.source, sides.source_pageable);
  return result != CUDA_SUCCESS
             ? result
             : place(destination, shape.destination, sides.destination_pageable);
}

CUDA_MEMCPY3D describe_shape(const CopyShape& shape) {
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = shape.source.is_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
  copy.srcDevice = shape.source.is_device ? shape.source.address : 0;
  copy.srcHost = shape.source.is_device
                     ? nullptr
                     : reinterpret_cast<const void*>(shape.source.address);
  copy.srcPitch = shape.source.row_pitch;
  copy.srcHeight = shape.source.row_pitch == 0
                       ? 0
                       : shape.source.slice_pitch / shape.source.row_pitch;
  copy.dstMemoryType = shape.destination.is_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
  copy.dstDevice = shape.destination.is_device ? shape.destination.address : 0;
  copy.dstHost = shape.destination.is_device
                     ? nullptr
                     : reinterpret_cast<void*>(shape.destination.address);
  copy.dstPitch = shape.destination.row_pitch;
  copy.dstHeight = shape.destination.row_pitch == 0
                       ? 0
                       : shape.destination.slice_pitch / shape.destination.row_pitch;
  copy.WidthInBytes = shape.width;
  copy.Height = shape.height;
  copy.Depth = shape.depth;
  return copy;
}

CUresult check_memset(const MemsetShape& shape) {
  const std::uint64_t bytes = shape.element_bytes;
  if (bytes != 1 && bytes != 2 && bytes != 4) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (shape.width == 0 || shape.height == 0) {
    return CUDA_SUCCESS;
  }
  std::uint64_t row = 0;
  std::uint64_t span = 0;
  if (shape.address % bytes != 0 || !add_product(row, shape.width, bytes) ||
      (shape.height > 1 && (shape.pitch < row || shape.pitch % bytes != 0)) ||
      !add_product(span, shape.height - 1, shape.pitch) || !add_product(span, row, 1)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return runtime().memory->covers(shape.address, span) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace phos::sim
