// SPDX-License-Identifier: Apache-2.0
#include "executor/captures.h"

#include <cstring>

#include "executor/parking.h"
#include "executor/window.h"
#include "gen/codec.h"

namespace phos::executor {

namespace {

OwnedCommand owned(const SavedCommand& saved) {
  RecordHeader header{};
  header.op = saved.op;
  header.context = saved.context;
  return OwnedCommand(Command(header, saved.payload));
}

bool is_arena_address(std::uint64_t address) noexcept {
  return address >= arena_window_base() && address - arena_window_base() < arena_window_bytes();
}

template <class Request>
bool names_arena(const Command& command, std::uint64_t Request::*field) noexcept {
  const auto* request = command.as<Request>();
  return request != nullptr && is_arena_address(request->*field);
}

bool uses_arena(const Command& command) noexcept {
  using namespace codec;
  switch (command.call()) {
    case CallId::phos_host_function:
    case CallId::phos_copy_shape:
      return true;
    case CallId::phos_copy:
      return names_arena(command, &Req_phos_copy::src) || names_arena(command, &Req_phos_copy::dst);
    case CallId::phos_copy_inline:
      return names_arena(command, &Req_phos_copy_inline::dst);
    case CallId::phos_memset:
      return names_arena(command, &Req_phos_memset::dst);
    case CallId::cuStreamWaitValue32:
      return names_arena(command, &Req_cuStreamWaitValue32::addr);
    case CallId::cuStreamWaitValue64:
      return names_arena(command, &Req_cuStreamWaitValue64::addr);
    case CallId::cuStreamWriteValue32:
      return names_arena(command, &Req_cuStreamWriteValue32::addr);
    case CallId::cuStreamWriteValue64:
      return names_arena(command, &Req_cuStreamWriteValue64::addr);
    default:
      return false;
  }
}

// Streams and events that the program has destroyed since, for the time of a capture.
class Scratch {
 public:
  explicit Scratch(Session& session) : session_(session) {}
  ~Scratch() {
    const DriverTable& driver = session_.driver();
    for (const auto& [type, wire] : made_) {
      const std::unique_ptr<Object> object = session_.objects().remove(type, wire);
      if (object == nullptr) continue;
      if (type == HandleType::stream) driver.cuStreamDestroy(static_cast<CUstream>(object->real));
      if (type == HandleType::event) driver.cuEventDestroy(static_cast<CUevent>(object->real));
    }
    for (std::unique_ptr<Object>& aside : aside_) {
      Object* object = session_.objects().add(aside->type, aside->wire, aside->real);
      if (object != nullptr) *object = std::move(*aside);
    }
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  CUresult need_stream(std::uint64_t wire) {
    if (wire <= 2 || session_.find(HandleType::stream, wire) != nullptr) return CUDA_SUCCESS;
    CUstream stream = nullptr;
    const CUresult result = session_.driver().cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
    return result != CUDA_SUCCESS ? result : keep(HandleType::stream, wire, stream);
  }
  CUresult need_event(std::uint64_t wire) {
    if (wire == 0 || session_.find(HandleType::event, wire) != nullptr) return CUDA_SUCCESS;
    CUevent event = nullptr;
    const CUresult result = session_.driver().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING);
    return result != CUDA_SUCCESS ? result : keep(HandleType::event, wire, event);
  }

 private:
  // The program may have given the number to a successor already, which steps aside.
  void make_room(HandleType type, std::uint64_t wire) {
    for (const Object* object : session_.objects().in_order()) {
      if (object->type != type || handle_index(object->wire) != handle_index(wire)) continue;
      aside_.push_back(session_.objects().remove(type, object->wire));
      return;
    }
  }
  CUresult keep(HandleType type, std::uint64_t wire, void* real) {
    make_room(type, wire);
    if (session_.objects().add(type, wire, real) == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    made_.emplace_back(type, wire);
    return CUDA_SUCCESS;
  }

  Session& session_;
  std::vector<std::pair<HandleType, std::uint64_t>> made_;
  std::vector<std::unique_ptr<Object>> aside_;
};

// phos_begin_capture is no command of the captured stream.
std::uint64_t stream_of_begin(const Command& command) noexcept {
  const auto* request = command.as<codec::Req_phos_begin_capture>();
  return request == nullptr ? 0 : request->stream;
}

bool arrays_are_there(Session& session, const Command& command) {
  const auto* request = command.as<codec::Req_phos_copy_shape>();
  if (request == nullptr) return false;
  const auto is_there = [&](CUmemorytype type, CUarray array) {
    // SAFETY: the client put a phos handle where the driver's array goes.
    const auto wire = reinterpret_cast<std::uint64_t>(array);
    return type != CU_MEMORYTYPE_ARRAY || session.find(HandleType::array, wire) != nullptr;
  };
  return is_there(request->shape.srcMemoryType, request->shape.srcArray) &&
         is_there(request->shape.dstMemoryType, request->shape.dstArray);
}

}  // namespace

std::string why_not_captured_again(Session& session, const Object& graph) {
  for (const SavedCommand& saved : graph.recipe) {
    const OwnedCommand command = owned(saved);
    const Command view = command.view();
    if (view.call() == CallId::phos_launch) {
      const auto* request = view.as<codec::Req_phos_launch>();
      const std::uint64_t wire = request == nullptr ? 0 : request->function;
      const auto type = static_cast<HandleType>(is_handle(wire) ? handle_type(wire) : 0);
      if (!is_function(type) || session.find(type, wire) == nullptr) {
        return "it launches a kernel whose module the program has unloaded";
      }
    }
    if (view.call() == CallId::phos_copy_shape && !arrays_are_there(session, view)) {
      return "it copies to or from an array that the program has destroyed";
    }
    if (view.call() == CallId::cuGraphLaunch) {
      const auto* request = view.as<codec::Req_cuGraphLaunch>();
      if (request == nullptr || session.find(HandleType::graph_exec, request->hGraph) == nullptr) {
        return "it captured the launch of a graph that the program has destroyed";
      }
    }
  }
  return {};
}

namespace {

// What a command says of a node of a graph; null for other commands.
template <class Visit>
void visit_node(const SavedCommand& saved, Visit&& visit) {
  const OwnedCommand command = owned(saved);
  const Command view = command.view();
  if (view.call() == CallId::phos_graph_node_add) {
    if (const auto* request = view.as<codec::Req_phos_graph_node_add>()) visit(*request);
  } else if (view.call() == CallId::phos_graph_node_set) {
    if (const auto* request = view.as<codec::Req_phos_graph_node_set>()) visit(*request);
  }
}

template <class Request>
bool node_uses_arena(const Request& request) noexcept {
  if (request.kind == CU_GRAPH_NODE_TYPE_HOST) return true;
  if (request.kind == CU_GRAPH_NODE_TYPE_MEMSET) return is_arena_address(request.set[0]);
  if (request.kind != CU_GRAPH_NODE_TYPE_MEMCPY) return false;
  return request.copy.srcMemoryType == CU_MEMORYTYPE_HOST ||
         request.copy.dstMemoryType == CU_MEMORYTYPE_HOST ||
         is_arena_address(request.copy.srcDevice) || is_arena_address(request.copy.dstDevice);
}

template <class Request>
std::string why_request_is_lost(Session& session, const Request& request) {
  if (request.kind == CU_GRAPH_NODE_TYPE_KERNEL) {
    const std::uint64_t wire = request.subject;
    const auto type = static_cast<HandleType>(is_handle(wire) ? handle_type(wire) : 0);
    if (!is_function(type) || session.find(type, wire) == nullptr) {
      return "it launches a kernel whose module the program has unloaded";
    }
  }
  if (request.kind == CU_GRAPH_NODE_TYPE_EVENT_RECORD ||
      request.kind == CU_GRAPH_NODE_TYPE_WAIT_EVENT) {
    if (session.find(HandleType::event, request.subject) == nullptr) {
      return "it names an event that the program has destroyed";
    }
  }
  if (request.kind == CU_GRAPH_NODE_TYPE_MEMCPY) {
    const auto is_there = [&](CUmemorytype type, CUarray array) {
      // SAFETY: the client put a phos handle where the driver's array goes.
      const auto wire = reinterpret_cast<std::uint64_t>(array);
      return type != CU_MEMORYTYPE_ARRAY || session.find(HandleType::array, wire) != nullptr;
    };
    if (!is_there(request.copy.srcMemoryType, request.copy.srcArray) ||
        !is_there(request.copy.dstMemoryType, request.copy.dstArray)) {
      return "it copies to or from an array that the program has destroyed";
    }
  }
  return {};
}

}  // namespace

std::string why_node_is_lost(Session& session, const Object& object) {
  std::string reason;
  const auto ask = [&](const auto& request) {
    if (reason.empty()) reason = why_request_is_lost(session, request);
  };
  visit_node(object.create, ask);
  for (const SavedCommand& change : object.mutations) visit_node(change, ask);
  return reason;
}

bool needs_arenas(const SavedObject& graph) {
  bool node_needs = false;
  const auto look = [&](const auto& request) { node_needs |= node_uses_arena(request); };
  visit_node(graph.create, look);
  for (const SavedCommand& change : graph.mutations) visit_node(change, look);
  if (node_needs) return true;
  for (const SavedCommand& saved : graph.recipe) {
    const OwnedCommand command = owned(saved);
    if (uses_arena(command.view())) return true;
  }
  return false;
}

CUresult capture_again(Session& session, Drain& drain, const SavedObject& graph) {
  Scratch scratch(session);
  for (const SavedCommand& saved : graph.recipe) {
    const OwnedCommand command = owned(saved);
    const OrderPlace place = order_of(command.view());
    std::uint64_t stream = place.stream.value_or(0);
    if (command.view().call() == CallId::phos_begin_capture) {
      stream = stream_of_begin(command.view());
    }
    CUresult result = scratch.need_stream(stream);
    if (result == CUDA_SUCCESS) result = scratch.need_event(place.records);
    if (result == CUDA_SUCCESS) result = scratch.need_event(place.needs);
    // Not as if somebody waited for it: a wait would add to the capture.
    if (result == CUDA_SUCCESS) result = drain.replay(saved, Drain::Waiting::nobody).status;
    if (result != CUDA_SUCCESS) return result;
  }
  session.objects().continue_at(graph.creation);
  const CUresult result = drain.replay(graph.create).status;
  Object* object = session.find(HandleType::graph, graph.wire);
  if (object != nullptr) object->recipe = graph.recipe;
  return result;
}

}  // namespace phos::executor
