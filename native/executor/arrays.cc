// SPDX-License-Identifier: Apache-2.0
#include "executor/arrays.h"

#include <algorithm>

#include "executor/device_port.h"

namespace phos::executor {

namespace {

// Bytes of one channel; 0 for formats of several planes and compressed ones.
std::uint64_t channel_bytes(CUarray_format format) noexcept {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
      return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
      return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT:
      return 4;
    default:
      return 0;
  }
}

struct Shape {
  std::uint64_t row_bytes = 0;
  std::uint64_t rows = 1;
  std::uint64_t slices = 1;
  std::uint64_t bytes() const noexcept { return row_bytes * rows * slices; }
};

CUarray real_of(const Object& array) noexcept { return static_cast<CUarray>(array.real); }

CUresult shape_of(Session& session, const Object& array, Shape* shape) {
  CUDA_ARRAY3D_DESCRIPTOR description{};
  const CUresult result = session.driver().cuArray3DGetDescriptor(&description, real_of(array));
  if (result != CUDA_SUCCESS) return result;
  shape->row_bytes =
      description.Width * channel_bytes(description.Format) * description.NumChannels;
  shape->rows = std::max<std::uint64_t>(description.Height, 1);
  shape->slices = std::max<std::uint64_t>(description.Depth, 1);
  return CUDA_SUCCESS;
}

CUDA_MEMCPY3D extent_of(const Shape& shape) {
  CUDA_MEMCPY3D copy{};
  copy.WidthInBytes = shape.row_bytes;
  copy.Height = shape.rows;
  copy.Depth = shape.slices;
  return copy;
}

}  // namespace

std::string why_array_is_lost(Session& session, const Object& array) {
  Shape shape;
  if (shape_of(session, array, &shape) == CUDA_SUCCESS && shape.row_bytes != 0) return {};
  return "its elements have a format that phos cannot copy";
}

Blob read_array(Session& session, const Object& array) {
  const DriverTable& driver = session.driver();
  Shape shape;
  check_driver(driver, shape_of(session, array, &shape), "Asking for the shape of an array");
  auto elements = std::make_shared<std::vector<std::uint8_t>>(shape.bytes());
  CUDA_MEMCPY3D copy = extent_of(shape);
  copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.srcArray = real_of(array);
  copy.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstHost = elements->data();
  copy.dstPitch = shape.row_bytes;
  copy.dstHeight = shape.rows;
  check_driver(driver, driver.cuMemcpy3D(&copy), "Reading an array");
  return elements;
}

CUresult write_array(Session& session, const Object& array, const Blob& elements) {
  Shape shape;
  const CUresult result = shape_of(session, array, &shape);
  if (result != CUDA_SUCCESS) return result;
  if (elements == nullptr || elements->size() != shape.bytes()) return CUDA_ERROR_INVALID_VALUE;
  CUDA_MEMCPY3D copy = extent_of(shape);
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = elements->data();
  copy.srcPitch = shape.row_bytes;
  copy.srcHeight = shape.rows;
  copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.dstArray = real_of(array);
  return session.driver().cuMemcpy3D(&copy);
}

}  // namespace phos::executor
