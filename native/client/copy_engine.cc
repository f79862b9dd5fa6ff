// SPDX-License-Identifier: Apache-2.0
#include "client/copy_engine.h"

#include <string.h>

#include <algorithm>
#include <new>

#include "client/call.h"
#include "client/capture.h"
#include "client/copy_crew.h"
#include "client/host_memory.h"
#include "client/memory_file.h"
#include "client/memory_ranges.h"
#include "client/staging.h"

namespace phos::client {

namespace {

constexpr std::uint64_t kReplyCopyBytes = 2048;

CUresult send_copy(const Copy& request, bool release) noexcept {
  if (request.wait) {
    codec::Req_phos_copy_wait command{};
    command.dst = request.dst;
    command.src = request.src;
    command.bytes = request.bytes;
    command.stream = request.stream;
    command.release = release ? 1 : 0;
    codec::Rep_phos_copy_wait reply{};
    return ask(command, &reply);
  }
  codec::Req_phos_copy command{};
  command.dst = request.dst;
  command.src = request.src;
  command.bytes = request.bytes;
  command.stream = request.stream;
  command.release = release ? 1 : 0;
  return tell(command);
}

CUresult synchronize(std::uint64_t stream) noexcept {
  codec::Req_cuStreamSynchronize request{};
  request.hStream = stream;
  codec::Rep_cuStreamSynchronize reply{};
  return ask(request, &reply);
}

// The part of a copy that goes through one staging slot.
Copy piece_of(const Copy& request, std::uint64_t index) noexcept {
  const std::uint64_t done = index * kStagingSlotBytes;
  const std::uint64_t bytes = std::min<std::uint64_t>(request.bytes - done, kStagingSlotBytes);
  return {request.dst + done, request.src + done, bytes, request.stream, request.wait};
}

CUresult stage_piece(void* request, std::uint64_t index) noexcept {
  Copy part = piece_of(*static_cast<const Copy*>(request), index);
  StagingSlot slot{};
  if (const CUresult status = take_slot(&slot); status != CUDA_SUCCESS) return status;
  memcpy(slot.data, pointer_of<const void*>(part.src), part.bytes);
  part.src = slot.address();
  part.wait = false;
  const CUresult status = send_copy(part, true);
  if (status != CUDA_SUCCESS) give_slot(slot);
  return status;
}

CUresult fetch_piece(void* request, std::uint64_t index) noexcept {
  Copy part = piece_of(*static_cast<const Copy*>(request), index);
  const std::uint64_t target = part.dst;
  StagingSlot slot{};
  if (const CUresult status = take_slot(&slot); status != CUDA_SUCCESS) return status;
  part.dst = slot.address();
  part.wait = true;
  const CUresult status = send_copy(part, false);
  if (status == CUDA_SUCCESS) memcpy(pointer_of<void*>(target), slot.data, part.bytes);
  give_slot(slot);
  return status;
}

// Pieces of one copy touch different bytes, so their order within the stream is of no account.
CUresult in_pieces(Copy request, Piece piece) noexcept {
  const std::uint64_t pieces = (request.bytes + kStagingSlotBytes - 1) / kStagingSlotBytes;
  return run_pieces(pieces, piece, &request);
}

// A pageable source is staged before the call returns, as CUDA promises; the rest is stream order.
CUresult from_pageable(const Copy& request) noexcept {
  if (request.bytes <= kInlineBlobMax) {
    codec::Req_phos_copy_inline command{};
    command.dst = request.dst;
    command.stream = request.stream;
    const Blob data[] = {{pointer_of<const void*>(request.src), request.bytes}};
    return tell(command, data);
  }
  return in_pieces(request, stage_piece);
}

CUresult to_pageable(const Copy& request) noexcept {
  if (request.bytes <= kReplyCopyBytes) {
    codec::Req_phos_copy_out command{};
    command.src = request.src;
    command.stream = request.stream;
    command.bytes = static_cast<std::uint32_t>(request.bytes);
    codec::Rep_phos_copy_out reply{};
    OutBlob out[] = {{pointer_of<void*>(request.dst), request.bytes, 0}};
    return call_sync(CallId::phos_copy_out, command, {}, &reply, std::span<OutBlob>(out));
  }
  return in_pieces(request, fetch_piece);
}

struct HostCopy {
  void* dst;
  const void* src;
  std::uint64_t bytes;
};

void run_host_copy(void* data) {
  const auto* request = static_cast<const HostCopy*>(data);
  memcpy(request->dst, request->src, request->bytes);
}

CUresult capture_host_copy(std::uint64_t dst, std::uint64_t src, std::uint64_t bytes,
                           std::uint64_t stream) noexcept {
  auto* host_copy =
      new (std::nothrow) HostCopy{pointer_of<void*>(dst), pointer_of<const void*>(src), bytes};
  if (host_copy == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  codec::Req_phos_host_function command{};
  command.stream = stream;
  const CUresult status =
      add_host_function({run_host_copy, nullptr, nullptr, host_copy, true}, &command.id);
  return status != CUDA_SUCCESS ? status : tell(command);
}

// A graph reads and writes the program's memory each time it runs. The executor cannot, so a host
// function carries the bytes between that memory and an arena. Both belong to the graph for good.
CUresult capture_pageable(const Copy& request, bool from_program) noexcept {
  std::uint64_t buffer = 0;
  CUresult status = allocate_host(request.bytes, &buffer);
  if (status != CUDA_SUCCESS) return status;
  Copy device = request;
  device.wait = false;
  if (from_program) {
    status = capture_host_copy(buffer, request.src, request.bytes, request.stream);
    device.src = buffer;
    return status != CUDA_SUCCESS ? status : send_copy(device, false);
  }
  device.dst = buffer;
  status = send_copy(device, false);
  if (status != CUDA_SUCCESS) return status;
  return capture_host_copy(request.dst, buffer, request.bytes, request.stream);
}

}  // namespace

Place place_of(std::uint64_t address, std::uint64_t bytes) noexcept {
  MemoryRange range;
  if (find_range(address, &range)) {
    if (range.kind == MemoryKind::registered) return Place::pageable;
    // Mappings that touch each other are used as one.
    const std::uint64_t end = address + bytes;
    while (end > range.end() && range.kind == MemoryKind::mapped) {
      if (!find_range(range.end(), &range)) return Place::invalid;
    }
    if (end > range.end()) return Place::invalid;
    return range.is_host() ? Place::arena : Place::device;
  }
  return in_device_window(address) || in_arena_window(address) ? Place::invalid : Place::pageable;
}

CUresult copy(const Copy& request, Place dst, Place src) noexcept {
  if (dst == Place::invalid || src == Place::invalid) return CUDA_ERROR_INVALID_VALUE;
  if (request.bytes == 0) return CUDA_SUCCESS;
  const bool captures = is_capturing(request.stream);
  if (dst == Place::pageable && src == Place::pageable) {
    if (captures) {
      return capture_host_copy(request.dst, request.src, request.bytes, request.stream);
    }
    const CUresult status = synchronize(request.stream);
    if (status != CUDA_SUCCESS) return status;
    memmove(pointer_of<void*>(request.dst), pointer_of<const void*>(request.src), request.bytes);
    return CUDA_SUCCESS;
  }
  if (src == Place::pageable) {
    return captures ? capture_pageable(request, true) : from_pageable(request);
  }
  if (dst == Place::pageable) {
    return captures ? capture_pageable(request, false) : to_pageable(request);
  }
  return send_copy(request, false);
}

}  // namespace phos::client
