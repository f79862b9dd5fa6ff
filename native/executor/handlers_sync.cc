// SPDX-License-Identifier: Apache-2.0
// Captures, and commands that wait for the device.
#include "executor/handler_tools.h"
#include "executor/host_arenas.h"
#include "executor/waits.h"
#include "gen/executor_handlers.h"

namespace phos::executor {

void handle_phos_begin_capture(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_begin_capture>(session, command, reply);
  if (request == nullptr) return;
  CUstream stream = nullptr;
  CUresult result = stream_of(session, request->stream, &stream);
  // The client enforces the program's own mode; executor threads serve many client threads.
  if (result == CUDA_SUCCESS) {
    result = session.driver().cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
  }
  if (result == CUDA_SUCCESS) {
    session.streams().capture_began();
    Capture& capture = session.captures()[request->stream];
    capture.graph = request->graph;
    capture.streams.insert(request->stream);
    capture.commands.push_back(Session::saved(command));
  }
  reply.finish(result);
}

void handle_phos_end_capture(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_end_capture>(session, command, reply);
  if (request == nullptr) return;
  CUstream stream = nullptr;
  CUresult result = stream_of(session, request->stream, &stream);
  const auto capture = session.captures().find(request->stream);
  if (result != CUDA_SUCCESS || capture == session.captures().end()) {
    reply.finish(result != CUDA_SUCCESS ? result : CUDA_ERROR_ILLEGAL_STATE);
    return;
  }
  const std::uint64_t wire = capture->second.graph;
  std::vector<SavedCommand> recipe = std::move(capture->second.commands);
  session.captures().erase(capture);
  session.streams().capture_ended();
  CUgraph graph = nullptr;
  result = session.driver().cuStreamEndCapture(stream, &graph);
  if (request->discard != 0) {
    if (graph != nullptr) session.driver().cuGraphDestroy(graph);
    reply.finish(CUDA_SUCCESS);
    return;
  }
  if (result == CUDA_SUCCESS) {
    session.create(HandleType::graph, wire, graph, command, {});
    Object* object = session.find(HandleType::graph, wire);
    if (object != nullptr) object->recipe = std::move(recipe);
  }
  reply.finish(result);
}

// Custom: events that were recorded before a restore are known by their age.
void handle_cuEventElapsedTime(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_cuEventElapsedTime>(session, command, reply);
  if (request == nullptr) return;
  const Object* start = session.find(HandleType::event, request->hStart);
  const Object* end = session.find(HandleType::event, request->hEnd);
  if (start == nullptr || end == nullptr) {
    reply.finish(CUDA_ERROR_INVALID_HANDLE);
    return;
  }
  codec::Rep_cuEventElapsedTime answer{};
  const CUresult result =
      session.event_times().elapsed(session, *start, *end, &answer.pMilliseconds);
  reply.finish(result, &answer, result == CUDA_SUCCESS ? sizeof(answer) : 0);
}

void handle_phos_host_free(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_host_free>(session, command, reply);
  if (request == nullptr) return;
  if (!session.arenas().contains(request->address, request->bytes)) {
    session.protocol_error(command.call(), "memory that is given up lies outside the arenas");
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  session.waits().after_all(reply);
}

}  // namespace phos::executor
