// SPDX-License-Identifier: Apache-2.0
// Streams and events: order, queries and waits.
#include "executor/handler_tools.h"
#include "executor/waits.h"
#include "gen/executor_handlers.h"

namespace phos::executor {

namespace {

CUresult event_of(Session& session, std::uint64_t wire, CUevent* real) noexcept {
  void* found = nullptr;
  const CUresult result = session.resolve(HandleType::event, wire, false, &found);
  *real = static_cast<CUevent>(found);
  return result;
}

template <class Request, class Call>
void with_stream(Session& session, const Command& command, Reply& reply,
                 std::uint64_t Request::*field, const Call& call) {
  const auto* request = request_of<Request>(session, command, reply);
  if (request == nullptr) return;
  CUstream stream = nullptr;
  CUresult result = stream_of(session, request->*field, &stream);
  if (result == CUDA_SUCCESS) result = call(*request, stream);
  reply.finish(result);
}

// Waits and writes of values name device memory or an arena; the driver would take anything mapped.
bool is_word_of_client(Session& session, const Command& command, std::uint64_t address,
                       std::uint64_t bytes) {
  if (address % bytes == 0 && place_of(session, address, bytes) != Place::nowhere) return true;
  session.protocol_error(command.call(), "a stream operation names memory of somebody else");
  return false;
}

template <class Request, class Slot>
void value_operation(Session& session, const Command& command, Reply& reply, std::uint64_t bytes,
                     Slot slot) {
  with_stream(session, command, reply, &Request::stream,
              [&](const Request& request, CUstream stream) {
                if (!is_word_of_client(session, command, request.addr, bytes)) {
                  return CUDA_ERROR_INVALID_VALUE;
                }
                return slot(stream, request.addr, request.value, request.flags);
              });
}

}  // namespace

void handle_cuStreamQuery(Session& session, const Command& command, Reply& reply) {
  with_stream(session, command, reply, &codec::Req_cuStreamQuery::hStream,
              [&](const codec::Req_cuStreamQuery&, CUstream stream) {
                return session.driver().cuStreamQuery(stream);
              });
}

void handle_cuStreamSynchronize(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_cuStreamSynchronize>(session, command, reply);
  if (request == nullptr) return;
  CUstream stream = nullptr;
  const CUresult result = stream_of(session, request->hStream, &stream);
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
  } else {
    session.waits().after_stream(stream, reply);
  }
}

void handle_cuCtxSynchronize(Session& session, const Command& /*command*/, Reply& reply) {
  session.waits().after_all(reply);
}

void handle_cuStreamDestroy(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_cuStreamDestroy>(session, command, reply);
  if (request == nullptr) return;
  CUstream stream = nullptr;
  CUresult result = stream_of(session, request->hStream, &stream);
  if (result == CUDA_SUCCESS && request->hStream <= 2) result = CUDA_ERROR_INVALID_HANDLE;
  if (result == CUDA_SUCCESS) {
    // What is under way goes on; memory freed meanwhile must still wait for it.
    session.streams().forget(request->hStream);
    result = session.driver().cuStreamDestroy(stream);
  }
  if (result == CUDA_SUCCESS) result = session.destroy(HandleType::stream, request->hStream);
  reply.finish(result);
}

void handle_cuStreamWaitEvent(Session& session, const Command& command, Reply& reply) {
  with_stream(session, command, reply, &codec::Req_cuStreamWaitEvent::hStream,
              [&](const codec::Req_cuStreamWaitEvent& request, CUstream stream) {
                CUevent event = nullptr;
                const CUresult result = event_of(session, request.hEvent, &event);
                return result != CUDA_SUCCESS ? result
                                              : session.driver().cuStreamWaitEvent(
                                                    stream, event, request.Flags);
              });
}

void handle_cuEventRecord(Session& session, const Command& command, Reply& reply) {
  with_stream(session, command, reply, &codec::Req_cuEventRecord::hStream,
              [&](const codec::Req_cuEventRecord& request, CUstream stream) {
                CUevent event = nullptr;
                const CUresult result = event_of(session, request.hEvent, &event);
                return result != CUDA_SUCCESS ? result
                                              : session.driver().cuEventRecord(event, stream);
              });
}

void handle_cuEventRecordWithFlags(Session& session, const Command& command, Reply& reply) {
  with_stream(session, command, reply, &codec::Req_cuEventRecordWithFlags::hStream,
              [&](const codec::Req_cuEventRecordWithFlags& request, CUstream stream) {
                CUevent event = nullptr;
                const CUresult result = event_of(session, request.hEvent, &event);
                return result != CUDA_SUCCESS ? result
                                              : session.driver().cuEventRecordWithFlags(
                                                    event, stream, request.flags);
              });
}

void handle_cuEventQuery(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_cuEventQuery>(session, command, reply);
  if (request == nullptr) return;
  CUevent event = nullptr;
  const CUresult result = event_of(session, request->hEvent, &event);
  reply.finish(result != CUDA_SUCCESS ? result : session.driver().cuEventQuery(event));
}

void handle_cuEventSynchronize(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_cuEventSynchronize>(session, command, reply);
  if (request == nullptr) return;
  CUevent event = nullptr;
  const CUresult result = event_of(session, request->hEvent, &event);
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
  } else {
    session.waits().after_event(event, reply);
  }
}

void handle_cuStreamWaitValue32(Session& session, const Command& command, Reply& reply) {
  value_operation<codec::Req_cuStreamWaitValue32>(session, command, reply, 4,
                                                  session.driver().cuStreamWaitValue32);
}

void handle_cuStreamWaitValue64(Session& session, const Command& command, Reply& reply) {
  value_operation<codec::Req_cuStreamWaitValue64>(session, command, reply, 8,
                                                  session.driver().cuStreamWaitValue64);
}

void handle_cuStreamWriteValue32(Session& session, const Command& command, Reply& reply) {
  value_operation<codec::Req_cuStreamWriteValue32>(session, command, reply, 4,
                                                   session.driver().cuStreamWriteValue32);
}

void handle_cuStreamWriteValue64(Session& session, const Command& command, Reply& reply) {
  value_operation<codec::Req_cuStreamWriteValue64>(session, command, reply, 8,
                                                   session.driver().cuStreamWriteValue64);
}

void handle_cuGraphLaunch(Session& session, const Command& command, Reply& reply) {
  with_stream(session, command, reply, &codec::Req_cuGraphLaunch::hStream,
              [&](const codec::Req_cuGraphLaunch& request, CUstream stream) {
                void* graph = nullptr;
                const CUresult result =
                    session.resolve(HandleType::graph_exec, request.hGraph, false, &graph);
                return result != CUDA_SUCCESS
                           ? result
                           : session.driver().cuGraphLaunch(static_cast<CUgraphExec>(graph),
                                                            stream);
              });
}

void handle_cuGraphGetNodes(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_cuGraphGetNodes>(session, command, reply);
  if (request == nullptr) return;
  void* graph = nullptr;
  CUresult result = session.resolve(HandleType::graph, request->graph, false, &graph);
  std::size_t count = 0;
  if (result == CUDA_SUCCESS) {
    result = session.driver().cuGraphGetNodes(static_cast<CUgraph>(graph), nullptr, &count);
  }
  const codec::Rep_cuGraphGetNodes answer{count};
  reply.finish(result, &answer, sizeof(answer));
}

}  // namespace phos::executor
