// SPDX-License-Identifier: Apache-2.0
// Copies and fills. Host addresses lie in arenas; everything else a client could name as host
// memory would be the executor's own.
#include <cstring>

#include "executor/handler_tools.h"
#include "executor/host_arenas.h"
#include "executor/pinned_pool.h"
#include "executor/waits.h"
#include "executor/window.h"
#include "gen/executor_handlers.h"

namespace phos::executor {

Place place_of(Session& session, std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t base = session.memory().base();
  if (address >= base && address - base < device_window_bytes()) {
    return bytes <= device_window_bytes() - (address - base) ? Place::device : Place::nowhere;
  }
  if (session.arenas().contains(address, bytes)) return Place::arena;
  // What the driver placed itself: variables of modules, memory of pools.
  CUmemorytype type{};
  const CUresult result = session.driver().cuPointerGetAttribute(
      &type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address);
  return result == CUDA_SUCCESS && type == CU_MEMORYTYPE_DEVICE ? Place::device : Place::nowhere;
}

namespace {

void* host(std::uint64_t address) noexcept { return reinterpret_cast<void*>(address); }

CUresult copy(Session& session, const Command& command, std::uint64_t dst, std::uint64_t src,
              std::uint64_t bytes, CUstream stream) {
  if (bytes == 0) return CUDA_SUCCESS;
  const Place to = place_of(session, dst, bytes);
  const Place from = place_of(session, src, bytes);
  if (to == Place::nowhere || from == Place::nowhere) {
    session.protocol_error(command.call(), "a copy names memory that is not the client's");
    return CUDA_ERROR_INVALID_VALUE;
  }
  const DriverTable& driver = session.driver();
  if (to == Place::device && from == Place::device) {
    return driver.cuMemcpyDtoDAsync(dst, src, bytes, stream);
  }
  if (to == Place::device) return driver.cuMemcpyHtoDAsync(dst, host(src), bytes, stream);
  if (from == Place::device) return driver.cuMemcpyDtoHAsync(host(dst), src, bytes, stream);
  return driver.cuMemcpyAsync(dst, src, bytes, stream);
}

// After the copy: gives staging slots back, and answers where somebody waits.
void settle(Session& session, Reply& reply, CUstream stream, std::uint64_t address,
            std::uint64_t bytes, bool release, CUresult result) {
  if (result != CUDA_SUCCESS) {
    if (release) session.arenas().release_slots(address, bytes);
    reply.finish(result);
    return;
  }
  if (!release && !reply.is_sync()) {
    reply.finish(result);
    return;
  }
  Finish finish;
  if (release) {
    finish = [&session, address, bytes](CUresult status, Reply& done) {
      session.arenas().release_slots(address, bytes);
      done.finish(status);
    };
  }
  session.waits().after_stream(stream, reply, std::move(finish));
}

template <class Request>
void copy_and_settle(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<Request>(session, command, reply);
  if (request == nullptr) return;
  CUstream stream = nullptr;
  CUresult result = stream_of(session, request->stream, &stream);
  if (result == CUDA_SUCCESS) {
    result = copy(session, command, request->dst, request->src, request->bytes, stream);
  }
  const bool release = request->release != 0;
  settle(session, reply, stream, request->src, request->bytes, release, result);
}

// Bytes that a shape touches on one side, from the start of the allocation. False on overflow.
bool shape_bytes(std::size_t x, std::size_t y, std::size_t z, std::size_t pitch,
                 std::size_t rows, const CUDA_MEMCPY3D_v2& shape, std::uint64_t* bytes) noexcept {
  if (shape.WidthInBytes == 0 || shape.Height == 0 || shape.Depth == 0) {
    *bytes = 0;
    return true;
  }
  std::uint64_t last_slice = 0;
  std::uint64_t slice_bytes = 0;
  std::uint64_t row_bytes = 0;
  std::uint64_t end = 0;
  return !(__builtin_add_overflow(z, shape.Depth - 1, &last_slice) ||
           __builtin_mul_overflow(pitch, rows, &slice_bytes) ||
           __builtin_mul_overflow(last_slice, slice_bytes, &end) ||
           __builtin_add_overflow(y, shape.Height - 1, &row_bytes) ||
           __builtin_mul_overflow(row_bytes, pitch, &row_bytes) ||
           __builtin_add_overflow(end, row_bytes, &end) ||
           __builtin_add_overflow(x, shape.WidthInBytes, &row_bytes) ||
           __builtin_add_overflow(end, row_bytes, bytes));
}

bool host_side_is_arena(Session& session, const void* pointer, std::size_t x, std::size_t y,
                        std::size_t z, std::size_t pitch, std::size_t rows,
                        const CUDA_MEMCPY3D_v2& shape) {
  std::uint64_t bytes = 0;
  return shape_bytes(x, y, z, pitch, rows, shape, &bytes) &&
         (bytes == 0 ||
          session.arenas().contains(reinterpret_cast<std::uint64_t>(pointer), bytes));
}

CUresult resolve_array(Session& session, CUarray* array) noexcept {
  void* real = nullptr;
  const CUresult result =
      session.resolve(HandleType::array, reinterpret_cast<std::uint64_t>(*array), false, &real);
  *array = static_cast<CUarray>(real);
  return result;
}

}  // namespace

CUresult prepare_shape(Session& session, const Command& command, CUDA_MEMCPY3D_v2& shape) {
  CUresult result = CUDA_SUCCESS;
  bool good = true;
  // Unified addresses may be host memory: the kind is decided here, never by the driver.
  const auto side = [&](CUmemorytype& type, const void*& pointer, CUdeviceptr& address,
                        CUarray& array, std::size_t x, std::size_t y, std::size_t z,
                        std::size_t pitch, std::size_t rows) {
    if (type == CU_MEMORYTYPE_UNIFIED) {
      const Place place = place_of(session, address, 1);
      type = place == Place::arena ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
      if (place == Place::arena) pointer = host(address);
      good = good && place != Place::nowhere;
    }
    if (type == CU_MEMORYTYPE_HOST) {
      good = good && host_side_is_arena(session, pointer, x, y, z, pitch, rows, shape);
    } else if (type == CU_MEMORYTYPE_ARRAY && result == CUDA_SUCCESS) {
      result = resolve_array(session, &array);
    } else if (type == CU_MEMORYTYPE_DEVICE) {
      good = good && place_of(session, address, 1) == Place::device;
    }
  };
  const void* target = shape.dstHost;
  side(shape.srcMemoryType, shape.srcHost, shape.srcDevice, shape.srcArray, shape.srcXInBytes,
       shape.srcY, shape.srcZ, shape.srcPitch, shape.srcHeight);
  side(shape.dstMemoryType, target, shape.dstDevice, shape.dstArray, shape.dstXInBytes,
       shape.dstY, shape.dstZ, shape.dstPitch, shape.dstHeight);
  shape.dstHost = const_cast<void*>(target);
  if (!good) {
    session.protocol_error(command.call(), "a copy names memory that is not the client's");
    return CUDA_ERROR_INVALID_VALUE;
  }
  return result;
}

namespace {

template <class Request>
void copy_shape(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<Request>(session, command, reply);
  if (request == nullptr) return;
  CUDA_MEMCPY3D_v2 shape = request->shape;
  const auto source = reinterpret_cast<std::uint64_t>(shape.srcHost);
  std::uint64_t bytes = 0;
  shape_bytes(shape.srcXInBytes, shape.srcY, shape.srcZ, shape.srcPitch, shape.srcHeight, shape,
              &bytes);
  CUstream stream = nullptr;
  CUresult result = stream_of(session, request->stream, &stream);
  if (result == CUDA_SUCCESS) result = prepare_shape(session, command, shape);
  if (result == CUDA_SUCCESS) result = session.driver().cuMemcpy3DAsync(&shape, stream);
  settle(session, reply, stream, source, bytes, request->release != 0, result);
}

}  // namespace

void handle_phos_copy(Session& session, const Command& command, Reply& reply) {
  copy_and_settle<codec::Req_phos_copy>(session, command, reply);
}

void handle_phos_copy_wait(Session& session, const Command& command, Reply& reply) {
  copy_and_settle<codec::Req_phos_copy_wait>(session, command, reply);
}

void handle_phos_copy_shape(Session& session, const Command& command, Reply& reply) {
  copy_shape<codec::Req_phos_copy_shape>(session, command, reply);
}

void handle_phos_copy_shape_wait(Session& session, const Command& command, Reply& reply) {
  copy_shape<codec::Req_phos_copy_shape_wait>(session, command, reply);
}

void handle_phos_copy_inline(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_copy_inline>(session, command, reply);
  if (request == nullptr) return;
  std::span<const std::uint8_t> data;
  CUstream stream = nullptr;
  if (!array_of(session, command, request->data, &data)) {
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  CUresult result = stream_of(session, request->stream, &stream);
  if (result != CUDA_SUCCESS || data.empty()) {
    reply.finish(result);
    return;
  }
  const Place to = place_of(session, request->dst, data.size());
  if (to == Place::nowhere) {
    session.protocol_error(command.call(), "a copy names memory that is not the client's");
    result = CUDA_ERROR_INVALID_VALUE;
  } else if (to == Place::device) {
    // The driver takes its own copy of pageable bytes before it returns.
    result = session.driver().cuMemcpyHtoDAsync(request->dst, data.data(), data.size(), stream);
  } else {
    result = session.driver().cuMemcpyAsync(
        request->dst, reinterpret_cast<std::uint64_t>(data.data()), data.size(), stream);
  }
  reply.finish(result);
}

void handle_phos_copy_out(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_copy_out>(session, command, reply);
  if (request == nullptr) return;
  const std::uint32_t bytes = request->bytes;
  if (bytes > PinnedPool::kBlockBytes || place_of(session, request->src, bytes) != Place::device) {
    session.protocol_error(command.call(), "a read leaves the client's device memory");
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  CUstream stream = nullptr;
  CUresult result = stream_of(session, request->stream, &stream);
  std::uint8_t* block = session.pinned().take();
  if (block == nullptr) result = CUDA_ERROR_OUT_OF_MEMORY;
  if (result == CUDA_SUCCESS) {
    result = session.driver().cuMemcpyDtoHAsync(block, request->src, bytes, stream);
  }
  if (result != CUDA_SUCCESS) {
    if (block != nullptr) session.pinned().give(block);
    reply.finish(result);
    return;
  }
  session.waits().after_stream(
      stream, reply, [&session, block, bytes](CUresult status, Reply& done) {
        if (status == CUDA_SUCCESS) {
          const OutBlob blobs[] = {{block, bytes}};
          finish_with_blobs(session, done, codec::Rep_phos_copy_out{}, blobs);
        } else {
          done.finish(status);
        }
        session.pinned().give(block);
      });
}

void handle_phos_memset(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_memset>(session, command, reply);
  if (request == nullptr) return;
  if (request->width == 0 || request->height == 0) {
    reply.finish(CUDA_SUCCESS);
    return;
  }
  CUstream stream = nullptr;
  CUresult result = stream_of(session, request->stream, &stream);
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  const DriverTable& driver = session.driver();
  const bool flat = request->height == 1 && request->pitch == 0;
  const auto byte = static_cast<unsigned char>(request->value);
  const auto half = static_cast<unsigned short>(request->value);
  switch (request->element_bytes) {
    case 1:
      result = flat ? driver.cuMemsetD8Async(request->dst, byte, request->width, stream)
                    : driver.cuMemsetD2D8Async(request->dst, request->pitch, byte,
                                               request->width, request->height, stream);
      break;
    case 2:
      result = flat ? driver.cuMemsetD16Async(request->dst, half, request->width, stream)
                    : driver.cuMemsetD2D16Async(request->dst, request->pitch, half,
                                                request->width, request->height, stream);
      break;
    case 4:
      result = flat ? driver.cuMemsetD32Async(request->dst, request->value, request->width, stream)
                    : driver.cuMemsetD2D32Async(request->dst, request->pitch, request->value,
                                                request->width, request->height, stream);
      break;
    default:
      session.protocol_error(command.call(), "elements of an unknown size");
      result = CUDA_ERROR_INVALID_VALUE;
  }
  reply.finish(result);
}

}  // namespace phos::executor
