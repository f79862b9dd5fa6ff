// SPDX-License-Identifier: Apache-2.0
// Two- and three-dimensional copies. A side in the program's own pages goes through staging slots,
// row by row packed; everything else travels as one command.
#include <string.h>

#include <algorithm>

#include "client/call.h"
#include "client/capture.h"
#include "client/copy_engine.h"
#include "client/graph_nodes.h"
#include "client/log.h"
#include "client/staging.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

using Shape = CUDA_MEMCPY3D_v2;

// One side of a shape, whatever its kind.
struct Side {
  CUmemorytype* type;
  std::uint64_t address;
  std::uint64_t x;
  std::uint64_t y;
  std::uint64_t z;
  std::uint64_t pitch;
  std::uint64_t height;
};

Side source(Shape& shape) noexcept {
  const bool host = shape.srcMemoryType == CU_MEMORYTYPE_HOST;
  return {&shape.srcMemoryType, host ? bits_of(shape.srcHost) : shape.srcDevice, shape.srcXInBytes,
          shape.srcY,           shape.srcZ, shape.srcPitch, shape.srcHeight};
}

Side target(Shape& shape) noexcept {
  const bool host = shape.dstMemoryType == CU_MEMORYTYPE_HOST;
  return {&shape.dstMemoryType, host ? bits_of(shape.dstHost) : shape.dstDevice, shape.dstXInBytes,
          shape.dstY,           shape.dstZ, shape.dstPitch, shape.dstHeight};
}

std::uint8_t* row_of(const Side& side, std::uint64_t row, std::uint64_t slice) noexcept {
  const std::uint64_t offset =
      ((side.z + slice) * side.height + side.y + row) * side.pitch + side.x;
  return pointer_of<std::uint8_t*>(side.address + offset);
}

// Pitches of 0 mean rows one after the other; the bytes that the side touches lie in one place.
CUresult check_side(Side& side, const Shape& shape, Place* place) noexcept {
  if (*side.type == CU_MEMORYTYPE_ARRAY) {
    *place = Place::device;
    return CUDA_SUCCESS;
  }
  if (side.address == 0) return CUDA_ERROR_INVALID_VALUE;
  if (side.pitch == 0) side.pitch = side.x + shape.WidthInBytes;
  if (side.height == 0) side.height = side.y + shape.Height;
  if (side.pitch < shape.WidthInBytes + side.x) return CUDA_ERROR_INVALID_VALUE;
  if (shape.Depth > 1 && side.height < shape.Height + side.y) return CUDA_ERROR_INVALID_VALUE;
  const std::uint8_t* first = row_of(side, 0, 0);
  const std::uint8_t* last = row_of(side, shape.Height - 1, shape.Depth - 1);
  const auto bytes = static_cast<std::uint64_t>(last - first) + shape.WidthInBytes;
  *place = place_of(bits_of(first), bytes);
  if (*place == Place::invalid) return CUDA_ERROR_INVALID_VALUE;
  const bool host_only = *place == Place::pageable;
  if (*side.type == CU_MEMORYTYPE_DEVICE && host_only) return CUDA_ERROR_INVALID_VALUE;
  if (*side.type == CU_MEMORYTYPE_HOST && *place == Place::device) return CUDA_ERROR_INVALID_VALUE;
  *side.type = *place == Place::device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
  return CUDA_SUCCESS;
}

void put_source(Shape& shape, const Side& side) noexcept {
  shape.srcHost = pointer_of<const void*>(side.address);
  shape.srcDevice = side.address;
  shape.srcXInBytes = side.x;
  shape.srcY = side.y;
  shape.srcZ = side.z;
  shape.srcPitch = side.pitch;
  shape.srcHeight = side.height;
}

void put_target(Shape& shape, const Side& side) noexcept {
  shape.dstHost = pointer_of<void*>(side.address);
  shape.dstDevice = side.address;
  shape.dstXInBytes = side.x;
  shape.dstY = side.y;
  shape.dstZ = side.z;
  shape.dstPitch = side.pitch;
  shape.dstHeight = side.height;
}

CUresult send(const Shape& shape, std::uint64_t stream, bool wait, bool release) noexcept {
  if (wait) {
    codec::Req_phos_copy_shape_wait request{};
    request.shape = shape;
    request.stream = stream;
    request.release = release ? 1 : 0;
    codec::Rep_phos_copy_shape_wait reply{};
    return ask(request, &reply);
  }
  codec::Req_phos_copy_shape request{};
  request.shape = shape;
  request.stream = stream;
  request.release = release ? 1 : 0;
  return tell(request);
}

// A block of rows (or a part of one row) that fits a slot.
struct Piece {
  std::uint64_t column;
  std::uint64_t row;
  std::uint64_t slice;
  std::uint64_t width;
  std::uint64_t rows;
};

Side moved(const Side& side, const Piece& piece) noexcept {
  Side result = side;
  result.x += piece.column;
  result.y += piece.row;
  result.z += piece.slice;
  return result;
}

CUresult copy_piece(const Shape& shape, const Side& program, const Side& other, const Piece& piece,
                    std::uint64_t stream, bool to_program) noexcept {
  StagingSlot slot{};
  if (const CUresult status = take_slot(&slot); status != CUDA_SUCCESS) return status;
  const Side packed{nullptr, slot.address(), 0, 0, 0, piece.width, piece.rows};
  Shape part = shape;
  part.WidthInBytes = piece.width;
  part.Height = piece.rows;
  part.Depth = 1;
  if (to_program) {
    put_source(part, moved(other, piece));
    put_target(part, packed);
    part.dstMemoryType = CU_MEMORYTYPE_HOST;
    const CUresult status = send(part, stream, true, false);
    for (std::uint64_t row = 0; status == CUDA_SUCCESS && row < piece.rows; ++row) {
      memcpy(row_of(program, piece.row + row, piece.slice) + piece.column,
             slot.data + row * piece.width, piece.width);
    }
    give_slot(slot);
    return status;
  }
  for (std::uint64_t row = 0; row < piece.rows; ++row) {
    memcpy(slot.data + row * piece.width,
           row_of(program, piece.row + row, piece.slice) + piece.column, piece.width);
  }
  put_source(part, packed);
  part.srcMemoryType = CU_MEMORYTYPE_HOST;
  put_target(part, moved(other, piece));
  const CUresult status = send(part, stream, false, true);
  if (status != CUDA_SUCCESS) give_slot(slot);
  return status;
}

CUresult copy_staged(const Shape& shape, const Side& program, const Side& other,
                     std::uint64_t stream, bool to_program) noexcept {
  const std::uint64_t width = std::min<std::uint64_t>(shape.WidthInBytes, kStagingSlotBytes);
  const std::uint64_t rows_of_piece =
      width < shape.WidthInBytes ? 1 : std::max<std::uint64_t>(1, kStagingSlotBytes / width);
  for (std::uint64_t slice = 0; slice < shape.Depth; ++slice) {
    for (std::uint64_t row = 0; row < shape.Height; row += rows_of_piece) {
      for (std::uint64_t column = 0; column < shape.WidthInBytes; column += width) {
        const Piece piece{column, row, slice, std::min(width, shape.WidthInBytes - column),
                          std::min(rows_of_piece, shape.Height - row)};
        const CUresult status = copy_piece(shape, program, other, piece, stream, to_program);
        if (status != CUDA_SUCCESS) return status;
      }
    }
  }
  return CUDA_SUCCESS;
}

CUresult copy_between_program(const Shape& shape, const Side& to, const Side& from,
                              std::uint64_t stream) noexcept {
  codec::Req_cuStreamSynchronize request{};
  codec::Rep_cuStreamSynchronize reply{};
  request.hStream = stream;
  if (const CUresult status = ask(request, &reply); status != CUDA_SUCCESS) return status;
  for (std::uint64_t slice = 0; slice < shape.Depth; ++slice) {
    for (std::uint64_t row = 0; row < shape.Height; ++row) {
      memmove(row_of(to, row, slice), row_of(from, row, slice), shape.WidthInBytes);
    }
  }
  return CUDA_SUCCESS;
}

CUresult check_arrays(const Shape& shape) noexcept {
  std::uint64_t wire = 0;
  if (shape.srcMemoryType == CU_MEMORYTYPE_ARRAY) {
    const CUresult status = handle_arg(HandleType::array, bits_of(shape.srcArray), false, &wire);
    if (status != CUDA_SUCCESS) return status;
  }
  if (shape.dstMemoryType == CU_MEMORYTYPE_ARRAY) {
    return handle_arg(HandleType::array, bits_of(shape.dstArray), false, &wire);
  }
  return CUDA_SUCCESS;
}

CUresult copy_shape(Shape shape, CUstream stream, bool wait) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  std::uint64_t wire = 0;
  CUresult status = handle_arg(HandleType::stream, bits_of(stream), true, &wire);
  if (status == CUDA_SUCCESS) status = check_submit(wire);
  if (status == CUDA_SUCCESS) status = check_arrays(shape);
  if (status != CUDA_SUCCESS) return status;
  if (shape.WidthInBytes == 0 || shape.Height == 0 || shape.Depth == 0) return CUDA_SUCCESS;
  Side from = source(shape);
  Side to = target(shape);
  Place from_place = Place::invalid;
  Place to_place = Place::invalid;
  status = check_side(from, shape, &from_place);
  if (status == CUDA_SUCCESS) status = check_side(to, shape, &to_place);
  if (status != CUDA_SUCCESS) return status;
  put_source(shape, from);
  put_target(shape, to);
  if (from_place != Place::pageable && to_place != Place::pageable) {
    const bool on_device = from_place == Place::device && to_place == Place::device;
    return send(shape, wire, wait && !on_device, false);
  }
  if (is_capturing(wire)) {
    log("a shaped copy of pageable memory cannot be captured; use cuMemHostAlloc for it");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  if (from_place == to_place) return copy_between_program(shape, to, from, wire);
  return from_place == Place::pageable ? copy_staged(shape, from, to, wire, false)
                                       : copy_staged(shape, to, from, wire, true);
}

Shape from_2d(const CUDA_MEMCPY2D& flat) noexcept {
  Shape shape{};
  shape.srcXInBytes = flat.srcXInBytes;
  shape.srcY = flat.srcY;
  shape.srcMemoryType = flat.srcMemoryType;
  shape.srcHost = flat.srcHost;
  shape.srcDevice = flat.srcDevice;
  shape.srcArray = flat.srcArray;
  shape.srcPitch = flat.srcPitch;
  shape.dstXInBytes = flat.dstXInBytes;
  shape.dstY = flat.dstY;
  shape.dstMemoryType = flat.dstMemoryType;
  shape.dstHost = flat.dstHost;
  shape.dstDevice = flat.dstDevice;
  shape.dstArray = flat.dstArray;
  shape.dstPitch = flat.dstPitch;
  shape.WidthInBytes = flat.WidthInBytes;
  shape.Height = flat.Height;
  shape.Depth = 1;
  return shape;
}

CUstream stream_of(StreamMode mode) noexcept {
  return mode == StreamMode::per_thread ? CU_STREAM_PER_THREAD : nullptr;
}

}  // namespace

CUresult prepare_node_copy(CUDA_MEMCPY3D_v2& shape) noexcept {
  if (shape.WidthInBytes == 0 || shape.Height == 0 || shape.Depth == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (const CUresult status = check_arrays(shape); status != CUDA_SUCCESS) return status;
  Side from = source(shape);
  Side to = target(shape);
  Place from_place = Place::invalid;
  Place to_place = Place::invalid;
  CUresult status = check_side(from, shape, &from_place);
  if (status == CUDA_SUCCESS) status = check_side(to, shape, &to_place);
  if (status != CUDA_SUCCESS) return status;
  if (from_place == Place::pageable || to_place == Place::pageable) {
    log("a graph cannot copy pageable memory; use cuMemHostAlloc for it");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  put_source(shape, from);
  put_target(shape, to);
  return CUDA_SUCCESS;
}

namespace impl {

CUresult cuMemcpy2D(const CUDA_MEMCPY2D* pCopy, StreamMode stream_mode) {
  if (pCopy == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_shape(from_2d(*pCopy), stream_of(stream_mode), true);
}

CUresult cuMemcpy2DUnaligned(const CUDA_MEMCPY2D* pCopy, StreamMode stream_mode) {
  return impl::cuMemcpy2D(pCopy, stream_mode);
}

CUresult cuMemcpy3D(const CUDA_MEMCPY3D* pCopy, StreamMode stream_mode) {
  if (pCopy == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_shape(*pCopy, stream_of(stream_mode), true);
}

CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D* pCopy, CUstream hStream) {
  if (pCopy == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_shape(from_2d(*pCopy), hStream, false);
}

CUresult cuMemcpy3DAsync(const CUDA_MEMCPY3D* pCopy, CUstream hStream) {
  if (pCopy == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return copy_shape(*pCopy, hStream, false);
}

}  // namespace impl
}  // namespace phos::client
