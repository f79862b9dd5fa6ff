// SPDX-License-Identifier: Apache-2.0
// What hand-written handlers share.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "executor/session.h"
#include "gen/codec.h"

namespace phos::executor {

// The fixed part of the request; on null the client is cut off and the handler returns.
template <class T>
const T* request_of(Session& session, const Command& command, Reply& reply) noexcept {
  const T* request = command.as<T>();
  if (request == nullptr) {
    session.protocol_error(command.call(), "the payload is too short");
    reply.finish(CUDA_ERROR_INVALID_VALUE);
  }
  return request;
}

// A blob as an array of T. False, and the client is cut off, when it leaves the payload, is not
// aligned or holds a part of an element.
template <class T>
bool array_of(Session& session, const Command& command, codec::BlobRef ref,
              std::span<const T>* out) noexcept {
  *out = {};
  if (ref.offset == 0) return true;
  const std::uint8_t* data = command.blob(ref.offset, ref.bytes);
  if (data == nullptr || ref.offset % codec::kBlobAlign != 0 || ref.bytes % sizeof(T) != 0) {
    session.protocol_error(command.call(), "a blob of the payload is malformed");
    return false;
  }
  // SAFETY: bounds, alignment and size were just checked; the payload is the executor's own.
  *out = {reinterpret_cast<const T*>(data), ref.bytes / sizeof(T)};
  return true;
}

struct OutBlob {
  const void* data = nullptr;
  std::size_t size = 0;
};

// Answers with a fixed part and blobs. The client's own limits keep an answer smaller than a reply
// slot, so one that is larger is a protocol error.
template <class Rep, std::size_t N>
void finish_with_blobs(Session& session, Reply& reply, const Rep& fixed,
                       const OutBlob (&blobs)[N], CUresult status = CUDA_SUCCESS) {
  static_assert(N == Rep::kBlobs);
  std::span<const OutBlob> all(blobs);
  const std::size_t bytes = codec::payload_bytes(sizeof(Rep), all);
  if (bytes > kReplyInlineBytes) {
    session.protocol_error(Rep::kCall, "the answer would not fit in a reply slot");
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  std::vector<std::uint8_t> payload(bytes);
  codec::write_payload(payload.data(), &fixed, sizeof(Rep), all);
  reply.finish(status, payload.data(), payload.size());
}

// The stream that a command names; the null stream stands for the legacy one.
inline CUresult stream_of(Session& session, std::uint64_t wire, CUstream* real) noexcept {
  void* found = nullptr;
  const CUresult result = session.resolve(HandleType::stream, wire, true, &found);
  *real = static_cast<CUstream>(found);
  return result;
}

// Where an address of a copy lies.
enum class Place : std::uint8_t { device, arena, nowhere };
Place place_of(Session& session, std::uint64_t address, std::uint64_t bytes);

// Checks the addresses of a shaped copy, and puts the driver's arrays where the client's stand.
CUresult prepare_shape(Session& session, const Command& command, CUDA_MEMCPY3D_v2& shape);

}  // namespace phos::executor
