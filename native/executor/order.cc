// SPDX-License-Identifier: Apache-2.0
// How each call takes part in stream order: what the notation does not say by itself.
#include "executor/parking.h"
#include "gen/codec.h"

namespace phos::executor {

namespace {

template <class Request>
std::optional<std::uint64_t> stream_field(const Command& command) noexcept {
  const auto* request = command.as<Request>();
  if (request == nullptr) return std::nullopt;
  return request->stream;
}

template <class Request>
std::optional<std::uint64_t> h_stream_field(const Command& command) noexcept {
  const auto* request = command.as<Request>();
  if (request == nullptr) return std::nullopt;
  return request->hStream;
}

template <class Request>
OrderPlace recording(const Command& command) noexcept {
  OrderPlace place;
  const auto* request = command.as<Request>();
  if (request == nullptr) return place;
  place.stream = request->hStream;
  place.records = request->hEvent;
  place.counts = true;
  return place;
}

OrderPlace in_stream(std::optional<std::uint64_t> stream, bool counts) noexcept {
  OrderPlace place;
  place.stream = stream;
  place.counts = counts && stream.has_value();
  return place;
}

// Queries, waits for events, and what must come after everything.
OrderPlace order_of_questions(const Command& command) noexcept {
  using namespace codec;
  OrderPlace place;
  switch (command.call()) {
    case CallId::cuStreamQuery:
      place = in_stream(h_stream_field<Req_cuStreamQuery>(command), false);
      place.asks = true;
      break;
    case CallId::cuEventQuery:
      if (const auto* request = command.as<Req_cuEventQuery>()) place.needs = request->hEvent;
      place.asks = true;
      break;
    case CallId::cuEventSynchronize:
      if (const auto* request = command.as<Req_cuEventSynchronize>()) {
        place.needs = request->hEvent;
      }
      break;
    case CallId::cuEventElapsedTime:
      if (const auto* request = command.as<Req_cuEventElapsedTime>()) {
        place.needs = request->hStart;
        place.needs_too = request->hEnd;
      }
      place.asks = true;
      break;
    case CallId::cuCtxSynchronize:
    case CallId::phos_host_free:
      place.after_everything = true;
      break;
    default:
      place.after_everything = call_semantics(command.call()) == CallSemantics::destroy;
      break;
  }
  return place;
}

}  // namespace

OrderPlace order_of(const Command& command) noexcept {
  using namespace codec;
  switch (command.call()) {
    case CallId::phos_launch: {
      OrderPlace place = in_stream(stream_field<Req_phos_launch>(command), true);
      const auto* request = command.as<Req_phos_launch>();
      if (request != nullptr) place.function = request->function;
      return place;
    }
    case CallId::phos_host_function:
      return in_stream(stream_field<Req_phos_host_function>(command), true);
    case CallId::phos_copy:
      return in_stream(stream_field<Req_phos_copy>(command), true);
    case CallId::phos_copy_inline:
      return in_stream(stream_field<Req_phos_copy_inline>(command), true);
    case CallId::phos_copy_wait:
      return in_stream(stream_field<Req_phos_copy_wait>(command), true);
    case CallId::phos_copy_out:
      return in_stream(stream_field<Req_phos_copy_out>(command), true);
    case CallId::phos_copy_shape:
      return in_stream(stream_field<Req_phos_copy_shape>(command), true);
    case CallId::phos_copy_shape_wait:
      return in_stream(stream_field<Req_phos_copy_shape_wait>(command), true);
    case CallId::phos_memset:
      return in_stream(stream_field<Req_phos_memset>(command), true);
    case CallId::phos_begin_capture:
      return in_stream(stream_field<Req_phos_begin_capture>(command), false);
    case CallId::phos_end_capture:
      return in_stream(stream_field<Req_phos_end_capture>(command), false);
    case CallId::cuEventRecord:
      return recording<Req_cuEventRecord>(command);
    case CallId::cuEventRecordWithFlags:
      return recording<Req_cuEventRecordWithFlags>(command);
    case CallId::cuStreamWaitEvent: {
      OrderPlace place = in_stream(h_stream_field<Req_cuStreamWaitEvent>(command), true);
      const auto* request = command.as<Req_cuStreamWaitEvent>();
      if (request != nullptr) place.needs = request->hEvent;
      return place;
    }
    case CallId::cuGraphLaunch:
      return in_stream(h_stream_field<Req_cuGraphLaunch>(command), true);
    case CallId::cuStreamWaitValue32:
      return in_stream(stream_field<Req_cuStreamWaitValue32>(command), true);
    case CallId::cuStreamWaitValue64:
      return in_stream(stream_field<Req_cuStreamWaitValue64>(command), true);
    case CallId::cuStreamWriteValue32:
      return in_stream(stream_field<Req_cuStreamWriteValue32>(command), true);
    case CallId::cuStreamWriteValue64:
      return in_stream(stream_field<Req_cuStreamWriteValue64>(command), true);
    case CallId::cuStreamSynchronize:
      return in_stream(h_stream_field<Req_cuStreamSynchronize>(command), false);
    default:
      return order_of_questions(command);
  }
}
}  // namespace phos::executor
