// SPDX-License-Identifier: Apache-2.0
// Graphs that a stream capture made: what is kept of them, and how they are captured again.
#pragma once

#include <string>

#include "executor/drain.h"
#include "executor/session.h"
#include "executor/snapshot.h"

namespace phos::executor {

// Why a graph cannot be captured again; empty when it can.
std::string why_not_captured_again(Session& session, const Object& graph);

// Why a node, or a change of an executable graph, could not be repeated; empty when it can.
std::string why_node_is_lost(Session& session, const Object& object);

// True when host memory of the client takes part: it is there only when the client is back.
bool needs_arenas(const SavedObject& graph);

// Captures the graph again, on streams and with events of our own where the program's are gone.
// Answers what the command that failed answered.
CUresult capture_again(Session& session, Drain& drain, const SavedObject& graph);

}  // namespace phos::executor
