// SPDX-License-Identifier: Apache-2.0
// Which memory of the window a command may write, as far as can be told before it runs.
//
// Copies and fills say so. Of a kernel it is a guess: every aligned word of its parameter block
// that lies in a live allocation may be a pointer through which all of that allocation is written.
// A kernel that finds an address in device memory defeats the guess; the hashes of the cut tell.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "executor/command.h"
#include "executor/device_memory.h"

namespace phos::executor {

class Session;

struct WriteSet {
  bool everything = false;
  std::vector<MemoryRange> ranges;  // of bytes, in no order; they may overlap

  bool empty() const noexcept { return !everything && ranges.empty(); }
};

// What commands captured into graphs may write, remembered for the graphs' launches.
class GraphWrites {
 public:
  // A command goes to a stream that is capturing. With the session's lock.
  void captured(Session& session, const Command& command);
  // Adds what the graph may write now: its words are looked up anew. Unknown: everything.
  void add_to(Session& session, std::uint64_t graph, WriteSet& set) const;

 private:
  // Older ones are forgotten, and then count as writing everything.
  static constexpr std::size_t kMaxGraphs = 4096;
  struct Record {
    bool everything = false;
    std::vector<std::uint64_t> words;
    std::vector<MemoryRange> ranges;
  };
  Record& record_of(std::uint64_t graph);

  std::unordered_map<std::uint64_t, Record> records_;
  std::deque<std::uint64_t> order_;
};

// With the session's lock.
WriteSet writes_of(Session& session, const Command& command);

}  // namespace phos::executor
