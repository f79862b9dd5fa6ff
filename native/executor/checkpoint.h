// SPDX-License-Identifier: Apache-2.0
// From a session at rest to a snapshot, and from a snapshot to a session.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "executor/drain.h"
#include "executor/file.h"
#include "executor/image.h"
#include "executor/session.h"
#include "executor/snapshot.h"

namespace phos::executor {

// A type and a handle, for messages.
std::string name_of_object(HandleType type, std::uint64_t wire);

// Why an object cannot be saved; empty when it can.
std::string unsaveable_reason(Session& session, const Object& object, bool accepts_cubins);

// Everything but memory. With the session's lock held, at rest. UNSUPPORTED naming what cannot be
// saved.
Snapshot take_snapshot(Session& session, SnapshotFacts facts, bool accepts_cubins);

// Makes the snapshot's allocations and objects again in a fresh session, in the order in which the
// program had them made and placed, and checks that everything device code can see lies where it
// lay. DEVICE or UNSUPPORTED naming the object. (rebuild.cc)
// Returns what can be done only when the client's host memory is there again, for rebuild_rest().
struct Later;
using LaterSteps = std::shared_ptr<const std::vector<Later>>;
LaterSteps rebuild(Session& session, Drain& drain, const Snapshot& snapshot);
void rebuild_rest(Session& session, Drain& drain, const LaterSteps& later);

// Device memory moved out to the host: suspend and resume.
class SuspendedMemory {
 public:
  static std::unique_ptr<SuspendedMemory> move_out(Session& session,
                                                   const std::vector<MemoryRange>& ranges,
                                                   const Progress& progress);
  void move_in(Session& session, const Progress& progress) const;
  std::uint64_t device_bytes() const noexcept { return device_bytes_; }
  std::uint64_t host_bytes() const noexcept { return host_bytes_; }

 private:
  struct Chunk {
    std::uint64_t address;
    std::size_t bytes;
    PageBuffer data;  // null: all zero
  };
  std::vector<Chunk> chunks_;
  std::uint64_t device_bytes_ = 0;
  std::uint64_t host_bytes_ = 0;
};

}  // namespace phos::executor
