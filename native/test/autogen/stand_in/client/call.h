// SPDX-License-Identifier: Apache-2.0
// A client that sends nothing: what generated bodies ask of it is noted and answered by the test.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gen/call_ids.h"
#include "gen/codec.h"
#include "gen/handle_types.h"
#include "phos/cuda_abi.h"

namespace phos::client {

struct Blob {
  const void* data;
  std::size_t size;
};
struct OutBlob {
  void* data;
  std::size_t capacity;
  std::size_t size;
};

struct FakeClient {
  CUresult ready = CUDA_SUCCESS;
  CUresult answer = CUDA_SUCCESS;
  std::vector<std::string> log;
  CallId sent = CallId::none;
  bool is_async = false;
  std::vector<std::uint8_t> request;
  std::vector<std::uint8_t> reply;  // what the executor would answer
};
extern FakeClient g_client;

inline CUresult require_init() { return g_client.ready; }
inline CUresult require_context() { return g_client.ready; }
// Handles below 0x100 are no handles.
inline CUresult handle_arg(HandleType type, std::uint64_t handle, bool nullable,
                           std::uint64_t* wire) {
  g_client.log.push_back(std::string("use ") + handle_type_name(type));
  *wire = handle;
  if (handle == 0 && nullable) return CUDA_SUCCESS;
  return handle < 0x100 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}
inline CUresult new_handle(HandleType type, std::uint64_t* wire) {
  g_client.log.push_back(std::string("new ") + handle_type_name(type));
  *wire = 0x1234;
  return CUDA_SUCCESS;
}
inline void drop_handle(HandleType type, std::uint64_t) {
  g_client.log.push_back(std::string("drop ") + handle_type_name(type));
}
inline CUresult retire_handle(HandleType type, std::uint64_t handle, std::uint64_t* wire) {
  g_client.log.push_back(std::string("retire ") + handle_type_name(type));
  *wire = handle;
  return handle < 0x100 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

template <class Req>
CUresult call_async(CallId id, const Req& request, std::span<const Blob> in) {
  g_client.sent = id;
  g_client.is_async = true;
  g_client.request.resize(codec::payload_bytes(sizeof(Req), in));
  codec::write_payload(g_client.request.data(), &request, sizeof(Req), in);
  return g_client.answer;
}
template <class Req, class Rep>
CUresult call_sync(CallId id, const Req& request, std::span<const Blob> in, Rep* reply,
                   std::span<OutBlob> out) {
  call_async(id, request, in);
  g_client.is_async = false;
  if (g_client.answer != CUDA_SUCCESS || g_client.reply.empty()) return g_client.answer;
  const bool fits = codec::read_payload(g_client.reply.data(), g_client.reply.size(), reply,
                                        sizeof(Rep), out);
  return fits ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

}  // namespace phos::client
