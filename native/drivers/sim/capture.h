// SPDX-License-Identifier: Apache-2.0
// Stream capture: what is submitted to a capturing stream becomes nodes of a graph. All functions
// want the runtime lock.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "drivers/sim/context.h"
#include "drivers/sim/operation.h"
#include "drivers/sim/stream.h"
#include "phos/cuda_abi.h"

namespace phos::sim {

struct Graph;

struct Capture {
  std::uint64_t id = 0;
  std::shared_ptr<Graph> graph;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::uint64_t thread = 0;
  Stream* origin = nullptr;
  bool into_existing = false;  // cuStreamBeginCaptureToGraph: the graph stays the caller's
  bool invalid = false;
  bool ended = false;
  std::vector<Stream*> streams;  // that take part, the origin first
  std::size_t first_node = 0;    // nodes of the graph before the capture
};

// Adds the operation as a node behind what the stream has captured so far.
CUresult capture_operation(Stream& stream, std::unique_ptr<Operation> operation);
// Event record and wait within a capture: they carry dependencies and add no node. A stream that
// waits for a captured event joins its capture.
CUresult capture_record(Stream& stream, Event& event);
CUresult capture_wait(Stream& stream, Event& event);
// A call that no capturing stream allows: makes the capture invalid and gives 900 (or 901).
CUresult capture_forbids(Stream& stream);
CUresult capture_forbids_event(const Event& event);
// A capturing stream is destroyed.
void abandon_capture(Stream& stream);
// Work on the legacy stream would depend on a blocking stream that is capturing: 906.
CUresult check_not_captured(Stream& stream);

}  // namespace phos::sim
