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

OrderPlace in_stream(std::optional<std::uint64_t> stream, bool counts) noexcept {
  OrderPlace place;
  place.stream = stream;
  place.counts = counts && stream.has_value();
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
    case CallId::phos_host_free: {
      OrderPlace place;
      place.after_everything = true;
      return place;
    }
    default:
      break;
  }
  OrderPlace place;
  place.after_everything = call_semantics(command.call()) == CallSemantics::destroy;
  return place;
}

}  // namespace phos::executor
