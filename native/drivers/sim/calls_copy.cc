// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "drivers/sim/calls.h"
#include "drivers/sim/capture.h"
#include "drivers/sim/copy_shape.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

// Up to here a synchronous copy with nothing before it is done by the calling thread.
constexpr std::uint64_t kInlineBytes = 64U << 10;
// Up to here an asynchronous copy from pageable memory takes the bytes along and returns; CUDA
// stages such copies in the same way. Beyond it the call waits.
constexpr std::uint64_t kStageBytes = 1U << 20;

std::uint64_t total_bytes(const CopyShape& shape) noexcept {
  return shape.width * shape.height * shape.depth;
}

std::vector<std::uint8_t> stage(const CopyShape& shape) {
  std::vector<std::uint8_t> bytes(total_bytes(shape));
  CopyShape into = shape;
  into.destination = {false, reinterpret_cast<std::uint64_t>(bytes.data()), shape.width,
                      shape.width * shape.height};
  copy_now(into);
  return bytes;
}

// In stream order, and done when this returns.
CUresult copy_sync(Entry& entry, Stream& stream, const CopyShape& shape, const CopySides& sides) {
  if (stream.capture) {
    return capture_forbids(stream);
  }
  if (total_bytes(shape) == 0) {
    return CUDA_SUCCESS;
  }
  Scheduler& scheduler = runtime().scheduler;
  if (const CUresult legal = check_not_captured(stream); legal != CUDA_SUCCESS) {
    return legal;
  }
  if (scheduler.is_idle(stream) && !scheduler.is_seeded() && total_bytes(shape) <= kInlineBytes) {
    return copy_now(shape) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  // CUDA promises only that the source may be used again when the call returns: the copy of a small
  // pageable source may still be on its way. The seeded scheduler takes it at its word.
  const bool may_return_early = scheduler.is_seeded() && sides.source_pageable &&
                                !sides.destination_pageable && total_bytes(shape) <= kInlineBytes;
  if (may_return_early) {
    return submit(entry, stream, std::make_unique<CopyOperation>(shape, stage(shape)));
  }
  const CUresult result = submit(entry, stream, std::make_unique<CopyOperation>(shape));
  return result != CUDA_SUCCESS ? result : synchronise(entry, stream);
}

CUresult copy_async(Entry& entry, Stream& stream, const CopyShape& shape,
                    const CopySides& sides) {
  if (stream.capture) {
    return submit(entry, stream, std::make_unique<CopyOperation>(shape));
  }
  if (total_bytes(shape) == 0) {
    return CUDA_SUCCESS;
  }
  if (sides.destination_pageable) {
    // Copies to pageable memory have arrived when the call returns.
    return copy_sync(entry, stream, shape, sides);
  }
  if (sides.source_pageable) {
    if (total_bytes(shape) > kStageBytes) {
      return copy_sync(entry, stream, shape, sides);
    }
    return submit(entry, stream, std::make_unique<CopyOperation>(shape, stage(shape)));
  }
  return submit(entry, stream, std::make_unique<CopyOperation>(shape));
}

enum class Mode : std::uint8_t { sync, async };

// Finds the stream, lets `make` describe the copy, and does it.
template <class Make>
CUresult run(Mode mode, CUstream handle, Make make) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Stream* stream = find_stream(entry, handle);
  if (stream == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  CopyShape shape;
  CopySides sides;
  if (const CUresult result = make(shape, sides); result != CUDA_SUCCESS) {
    return result;
  }
  return mode == Mode::sync ? copy_sync(entry, *stream, shape, sides)
                            : copy_async(entry, *stream, shape, sides);
}

CUresult linear(Mode mode, CUdeviceptr target, CUdeviceptr source, std::size_t bytes,
                CUstream stream) {
  return run(mode, stream, [=](CopyShape& shape, CopySides& sides) {
    return linear_shape(target, source, bytes, shape, sides);
  });
}

// One side must be an address of the device: what is not known is an error there, not host memory.
CUresult linear_to_device(Mode mode, CUdeviceptr target, CUdeviceptr source, std::size_t bytes,
                          CUstream stream, bool target_is_device, bool source_is_device) {
  return run(mode, stream, [=](CopyShape& shape, CopySides& sides) {
    const CUresult result = linear_shape(target, source, bytes, shape, sides);
    const bool wrong = bytes != 0 && ((target_is_device && sides.destination_pageable) ||
                                      (source_is_device && sides.source_pageable));
    return result == CUDA_SUCCESS && wrong ? CUDA_ERROR_INVALID_VALUE : result;
  });
}

CUdeviceptr address_of(const void* pointer) noexcept {
  return reinterpret_cast<CUdeviceptr>(pointer);
}

CUresult copy(CUdeviceptr target, CUdeviceptr source, std::size_t bytes) {
  return linear(Mode::sync, target, source, bytes, nullptr);
}
CUresult copy_h2d(CUdeviceptr target, const void* source, std::size_t bytes) {
  return linear_to_device(Mode::sync, target, address_of(source), bytes, nullptr, true, false);
}
CUresult copy_d2h(void* target, CUdeviceptr source, std::size_t bytes) {
  return linear_to_device(Mode::sync, address_of(target), source, bytes, nullptr, false, true);
}
// Between two places of the device the call need not wait, and does not.
CUresult copy_d2d(CUdeviceptr target, CUdeviceptr source, std::size_t bytes) {
  return linear_to_device(Mode::async, target, source, bytes, nullptr, true, true);
}
CUresult copy_peer(CUdeviceptr target, CUcontext /*to*/, CUdeviceptr source, CUcontext /*from*/,
                   std::size_t bytes) {
  return linear_to_device(Mode::sync, target, source, bytes, nullptr, true, true);
}
CUresult copy_later(CUdeviceptr target, CUdeviceptr source, std::size_t bytes, CUstream stream) {
  return linear(Mode::async, target, source, bytes, stream);
}
CUresult copy_h2d_later(CUdeviceptr target, const void* source, std::size_t bytes,
                        CUstream stream) {
  return linear_to_device(Mode::async, target, address_of(source), bytes, stream, true, false);
}
CUresult copy_d2h_later(void* target, CUdeviceptr source, std::size_t bytes, CUstream stream) {
  return linear_to_device(Mode::async, address_of(target), source, bytes, stream, false, true);
}
CUresult copy_d2d_later(CUdeviceptr target, CUdeviceptr source, std::size_t bytes,
                        CUstream stream) {
  return linear_to_device(Mode::async, target, source, bytes, stream, true, true);
}
CUresult copy_peer_later(CUdeviceptr target, CUcontext /*to*/, CUdeviceptr source,
                         CUcontext /*from*/, std::size_t bytes, CUstream stream) {
  return linear_to_device(Mode::async, target, source, bytes, stream, true, true);
}

// All or nothing is checked by the driver only as far as arguments go: a bad pair leaves the copies
// before it submitted, as the real call may.
CUresult copy_batch_later(CUdeviceptr* targets, CUdeviceptr* sources, std::size_t* sizes,
                          std::size_t count, CUmemcpyAttributes* attributes,
                          std::size_t* first_of, std::size_t kinds, CUstream stream) {
  // The default streams are refused by the real call.
  const bool named = reinterpret_cast<std::uintptr_t>(stream) > 2;
  if (targets == nullptr || sources == nullptr || sizes == nullptr || count == 0 ||
      attributes == nullptr || first_of == nullptr || kinds == 0 || kinds > count || !named) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const CUresult result = linear(Mode::async, targets[i], sources[i], sizes[i], stream);
    if (result != CUDA_SUCCESS) {
      return result;
    }
  }
  return CUDA_SUCCESS;
}

CUDA_MEMCPY3D with_depth(const CUDA_MEMCPY2D& flat) {
  CUDA_MEMCPY3D copy{};
  copy.srcXInBytes = flat.srcXInBytes;
  copy.srcY = flat.srcY;
  copy.srcMemoryType = flat.srcMemoryType;
  copy.srcHost = flat.srcHost;
  copy.srcDevice = flat.srcDevice;
  copy.srcArray = flat.srcArray;
  copy.srcPitch = flat.srcPitch;
  copy.dstXInBytes = flat.dstXInBytes;
  copy.dstY = flat.dstY;
  copy.dstMemoryType = flat.dstMemoryType;
  copy.dstHost = flat.dstHost;
  copy.dstDevice = flat.dstDevice;
  copy.dstArray = flat.dstArray;
  copy.dstPitch = flat.dstPitch;
  copy.WidthInBytes = flat.WidthInBytes;
  copy.Height = flat.Height;
  copy.Depth = 1;
  return copy;
}

CUresult boxed(Mode mode, const CUDA_MEMCPY3D& copy, CUstream stream) {
  return run(mode, stream, [&copy](CopyShape& shape, CopySides& sides) {
    return shape_of(copy, shape, sides);
  });
}

CUresult copy_2d(const CUDA_MEMCPY2D* copy) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE
                         : boxed(Mode::sync, with_depth(*copy), nullptr);
}
CUresult copy_2d_later(const CUDA_MEMCPY2D* copy, CUstream stream) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE
                         : boxed(Mode::async, with_depth(*copy), stream);
}
CUresult copy_3d(const CUDA_MEMCPY3D* copy) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE : boxed(Mode::sync, *copy, nullptr);
}
CUresult copy_3d_later(const CUDA_MEMCPY3D* copy, CUstream stream) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE : boxed(Mode::async, *copy, stream);
}

// The structures differ only in what the reserved pointers mean: the contexts of the two sides.
CUDA_MEMCPY3D without_peers(const CUDA_MEMCPY3D_PEER& peer) {
  static_assert(sizeof(CUDA_MEMCPY3D) == sizeof(CUDA_MEMCPY3D_PEER));
  CUDA_MEMCPY3D copy;
  std::memcpy(&copy, &peer, sizeof copy);
  copy.reserved0 = nullptr;
  copy.reserved1 = nullptr;
  return copy;
}
CUresult copy_3d_peer(const CUDA_MEMCPY3D_PEER* copy) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE
                         : boxed(Mode::sync, without_peers(*copy), nullptr);
}
CUresult copy_3d_peer_later(const CUDA_MEMCPY3D_PEER* copy, CUstream stream) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE
                         : boxed(Mode::async, without_peers(*copy), stream);
}

// One row between an array and linear memory; offsets count bytes.
CUDA_MEMCPY3D array_row(CUarray target, std::size_t target_offset, CUarray source,
                        std::size_t source_offset, std::size_t bytes) {
  CUDA_MEMCPY3D copy{};
  copy.dstArray = target;
  copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.dstXInBytes = target_offset;
  copy.srcArray = source;
  copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.srcXInBytes = source_offset;
  copy.WidthInBytes = bytes;
  copy.Height = 1;
  copy.Depth = 1;
  return copy;
}
CUresult array_to_array(CUarray target, std::size_t target_offset, CUarray source,
                        std::size_t source_offset, std::size_t bytes) {
  return boxed(Mode::async, array_row(target, target_offset, source, source_offset, bytes),
               nullptr);
}
CUresult to_array(Mode mode, CUarray target, std::size_t offset, CUdeviceptr source,
                  std::size_t bytes, CUstream stream) {
  CUDA_MEMCPY3D copy = array_row(target, offset, nullptr, 0, bytes);
  copy.srcMemoryType = CU_MEMORYTYPE_UNIFIED;
  copy.srcDevice = source;
  return boxed(mode, copy, stream);
}
CUresult from_array(Mode mode, CUdeviceptr target, CUarray source, std::size_t offset,
                    std::size_t bytes, CUstream stream) {
  CUDA_MEMCPY3D copy = array_row(nullptr, 0, source, offset, bytes);
  copy.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
  copy.dstDevice = target;
  return boxed(mode, copy, stream);
}
CUresult d2a(CUarray target, std::size_t offset, CUdeviceptr source, std::size_t bytes) {
  return to_array(Mode::async, target, offset, source, bytes, nullptr);
}
CUresult h2a(CUarray target, std::size_t offset, const void* source, std::size_t bytes) {
  return to_array(Mode::sync, target, offset, address_of(source), bytes, nullptr);
}
CUresult h2a_later(CUarray target, std::size_t offset, const void* source, std::size_t bytes,
                   CUstream stream) {
  return to_array(Mode::async, target, offset, address_of(source), bytes, stream);
}
CUresult a2d(CUdeviceptr target, CUarray source, std::size_t offset, std::size_t bytes) {
  return from_array(Mode::async, target, source, offset, bytes, nullptr);
}
CUresult a2h(void* target, CUarray source, std::size_t offset, std::size_t bytes) {
  return from_array(Mode::sync, address_of(target), source, offset, bytes, nullptr);
}
CUresult a2h_later(void* target, CUarray source, std::size_t offset, std::size_t bytes,
                   CUstream stream) {
  return from_array(Mode::async, address_of(target), source, offset, bytes, stream);
}

CUresult copy_batch(CUdeviceptr* targets, CUdeviceptr* sources, std::size_t* sizes,
                    std::size_t count, CUmemcpyAttributes* /*attributes*/,
                    std::size_t* /*indices*/, std::size_t /*attribute_count*/, CUstream stream) {
  if (targets == nullptr || sources == nullptr || sizes == nullptr || count == 0 ||
      stream == nullptr || handle_bits(stream) == 1) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const CUresult result = linear(Mode::async, targets[i], sources[i], sizes[i], stream);
    if (result != CUDA_SUCCESS) {
      return result;
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace

void fill_copy_calls(DriverTable& table) {
  table.cuMemcpy = copy;
  table.cuMemcpyHtoD = copy_h2d;
  table.cuMemcpyDtoH = copy_d2h;
  table.cuMemcpyDtoD = copy_d2d;
  table.cuMemcpyPeer = copy_peer;
  table.cuMemcpyAsync = copy_later;
  table.cuMemcpyHtoDAsync = copy_h2d_later;
  table.cuMemcpyDtoHAsync = copy_d2h_later;
  table.cuMemcpyDtoDAsync = copy_d2d_later;
  table.cuMemcpyPeerAsync = copy_peer_later;
  table.cuMemcpyBatchAsync = copy_batch_later;
  table.cuMemcpy2D = copy_2d;
  table.cuMemcpy2DUnaligned = copy_2d;
  table.cuMemcpy2DAsync = copy_2d_later;
  table.cuMemcpy3D = copy_3d;
  table.cuMemcpy3DAsync = copy_3d_later;
  table.cuMemcpy3DPeer = copy_3d_peer;
  table.cuMemcpy3DPeerAsync = copy_3d_peer_later;
  table.cuMemcpyAtoA = array_to_array;
  table.cuMemcpyDtoA = d2a;
  table.cuMemcpyHtoA = h2a;
  table.cuMemcpyHtoAAsync = h2a_later;
  table.cuMemcpyAtoD = a2d;
  table.cuMemcpyAtoH = a2h;
  table.cuMemcpyAtoHAsync = a2h_later;
  table.cuMemcpyBatchAsync = copy_batch;
}

}  // namespace phos::sim
