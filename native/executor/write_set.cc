// SPDX-License-Identifier: Apache-2.0
#include "executor/write_set.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "executor/session.h"
#include "gen/codec.h"
#include "phos/handle.h"

namespace phos::executor {

namespace {

// What a command says of its writes: ranges, and words that may be pointers.
struct Claims {
  bool everything = false;
  std::vector<MemoryRange> ranges;
  std::vector<std::uint64_t> words;
  std::uint64_t graph_exec = 0;

  void range(std::uint64_t address, std::uint64_t bytes) {
    if (bytes != 0) ranges.push_back({address, bytes});
  }
};

void claim_launch(const Command& command, Claims& claims) {
  const auto* request = command.as<codec::Req_phos_launch>();
  if (request == nullptr) return;
  const std::uint8_t* block =
      command.blob(request->parameters.offset, request->parameters.bytes);
  if (block == nullptr || request->parameters.offset == 0) return;
  for (std::uint64_t at = 0; at + 8 <= request->parameters.bytes; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, block + at, sizeof(word));
    claims.words.push_back(word);
  }
}

void claim_memset(const Command& command, Claims& claims) {
  const auto* request = command.as<codec::Req_phos_memset>();
  if (request == nullptr || request->width == 0 || request->height == 0) return;
  std::uint64_t row = 0;
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;
  const bool overflow =
      __builtin_mul_overflow(request->width, std::uint64_t{request->element_bytes}, &row) ||
      __builtin_mul_overflow(request->height - 1, request->pitch, &rows) ||
      __builtin_add_overflow(row, rows, &bytes);
  // The driver refuses such a command; should it not, nothing is safe.
  claims.everything = claims.everything || overflow;
  if (!overflow) claims.range(request->dst, bytes);
}

template <class Request>
void claim_copy(const Command& command, Claims& claims) {
  if (const auto* request = command.as<Request>()) claims.range(request->dst, request->bytes);
}

template <class Request>
void claim_shape(const Command& command, Claims& claims) {
  const auto* request = command.as<Request>();
  if (request == nullptr) return;
  const CUDA_MEMCPY3D_v2& shape = request->shape;
  const bool linear = shape.dstMemoryType == CU_MEMORYTYPE_DEVICE ||
                      shape.dstMemoryType == CU_MEMORYTYPE_UNIFIED;
  if (!linear || shape.WidthInBytes == 0 || shape.Height == 0 || shape.Depth == 0) return;
  // From the first byte of the allocation on: pitches need not be looked at one by one.
  claims.words.push_back(shape.dstDevice);
  claims.words.push_back(shape.dstDevice + shape.dstXInBytes);
}

template <class Request>
void claim_word(const Command& command, std::uint64_t bytes, Claims& claims) {
  if (const auto* request = command.as<Request>()) claims.range(request->addr, bytes);
}

Claims claims_of(const Command& command) {
  using namespace codec;
  Claims claims;
  switch (command.call()) {
    case CallId::phos_launch: claim_launch(command, claims); break;
    case CallId::phos_memset: claim_memset(command, claims); break;
    case CallId::phos_copy: claim_copy<Req_phos_copy>(command, claims); break;
    case CallId::phos_copy_wait: claim_copy<Req_phos_copy_wait>(command, claims); break;
    case CallId::phos_copy_inline:
      if (const auto* request = command.as<Req_phos_copy_inline>()) {
        claims.range(request->dst, request->data.bytes);
      }
      break;
    case CallId::phos_copy_shape: claim_shape<Req_phos_copy_shape>(command, claims); break;
    case CallId::phos_copy_shape_wait:
      claim_shape<Req_phos_copy_shape_wait>(command, claims);
      break;
    case CallId::cuStreamWriteValue32:
      claim_word<Req_cuStreamWriteValue32>(command, 4, claims);
      break;
    case CallId::cuStreamWriteValue64:
      claim_word<Req_cuStreamWriteValue64>(command, 8, claims);
      break;
    case CallId::cuGraphLaunch:
      if (const auto* request = command.as<Req_cuGraphLaunch>()) {
        claims.graph_exec = request->hGraph;
      }
      break;
    // These write nothing: reads, order, and the program's own functions on the host.
    case CallId::phos_copy_out:
    case CallId::phos_host_function:
    case CallId::cuEventRecord:
    case CallId::cuEventRecordWithFlags:
    case CallId::cuStreamWaitEvent:
    case CallId::cuStreamWaitValue32:
    case CallId::cuStreamWaitValue64:
      break;
    default:
      claims.everything = true;
  }
  return claims;
}

void add_words(Session& session, std::span<const std::uint64_t> words, WriteSet& set) {
  for (const std::uint64_t word : words) {
    const Allocation* allocation = session.memory().find(word);
    if (allocation == nullptr) continue;
    const MemoryRange range{allocation->address, allocation->bytes};
    const bool known = std::any_of(set.ranges.begin(), set.ranges.end(), [&](const auto& other) {
      return other.address == range.address && other.bytes == range.bytes;
    });
    if (!known) set.ranges.push_back(range);
  }
}

}  // namespace

GraphWrites::Record& GraphWrites::record_of(std::uint64_t graph) {
  const auto [found, added] = records_.try_emplace(graph);
  if (!added) return found->second;
  order_.push_back(graph);
  if (order_.size() > kMaxGraphs) {
    records_.erase(order_.front());
    order_.pop_front();
  }
  return records_.at(graph);
}

void GraphWrites::captured(Session& session, const Command& command) {
  Claims claims = claims_of(command);
  const bool one = session.captures().size() == 1;
  for (const auto& [stream, capture] : session.captures()) {
    Record& record = record_of(capture.graph);
    // A stream that joined a capture does not say which one it joined.
    record.everything = record.everything || claims.everything || claims.graph_exec != 0 || !one;
    record.words.insert(record.words.end(), claims.words.begin(), claims.words.end());
    record.ranges.insert(record.ranges.end(), claims.ranges.begin(), claims.ranges.end());
  }
}

void GraphWrites::add_to(Session& session, std::uint64_t graph, WriteSet& set) const {
  const auto found = records_.find(graph);
  if (found == records_.end() || found->second.everything) {
    set.everything = true;
    return;
  }
  add_words(session, found->second.words, set);
  set.ranges.insert(set.ranges.end(), found->second.ranges.begin(), found->second.ranges.end());
}

WriteSet writes_of(Session& session, const Command& command) {
  Claims claims = claims_of(command);
  WriteSet set;
  set.everything = claims.everything;
  set.ranges = std::move(claims.ranges);
  add_words(session, claims.words, set);
  if (claims.graph_exec == 0) return set;
  const Object* exec = session.find(HandleType::graph_exec, claims.graph_exec);
  std::uint64_t graph = 0;
  // One that was changed after it was made may write elsewhere.
  if (exec != nullptr && exec->mutations.empty()) {
    for (const std::uint64_t parent : exec->parents) {
      const bool is_graph = is_handle(parent) &&
                            handle_type(parent) == static_cast<std::uint8_t>(HandleType::graph);
      if (is_graph) graph = parent;
    }
  }
  session.graph_writes().add_to(session, graph, set);
  return set;
}

}  // namespace phos::executor
