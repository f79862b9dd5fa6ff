// SPDX-License-Identifier: Apache-2.0
// Commands that may not be given to the driver yet, while the ring is consumed further: those of
// streams with kMaxOutstanding commands under way, and those that depend on them. Order within a
// stream, and between streams through events and the legacy stream, stays the program's own.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "executor/command.h"
#include "executor/streams.h"

namespace phos::executor {

// How a command takes part in stream order.
struct OrderPlace {
  std::optional<std::uint64_t> stream;  // runs in the order of this stream
  std::uint64_t function = 0;            // kernel that it launches
  std::uint64_t records = 0;            // event that it records
  std::uint64_t needs = 0;              // event that must have been recorded
  std::uint64_t needs_too = 0;           // another one
  bool after_everything = false;        // waits for all that came before: destroys, context waits
  bool asks = false;                    // a query: NOT_READY instead of waiting
  bool counts = false;                  // adds to what is outstanding on its stream
};
OrderPlace order_of(const Command& command) noexcept;

// A command with memory of its own, aligned as records are.
struct OwnedCommand {
  explicit OwnedCommand(const Command& command);
  Command view() const noexcept {
    return Command(header, {reinterpret_cast<const std::uint8_t*>(words.get()), bytes});
  }
  RecordHeader header;
  struct alignas(kRecordAlign) Word {
    std::uint8_t bytes[kRecordAlign];
  };
  std::unique_ptr<Word[]> words;
  std::size_t bytes;
};

inline constexpr std::uint64_t kMaxParkedBytes = 1U << 30;

class Parking {
 public:
  // `admit` may hold a command back for another reason than order; it is asked last, and again
  // whenever the parked commands are looked at.
  using Admit = std::function<bool(const Command& command, const OrderPlace& place)>;
  Parking(Streams& streams, Admit admit) : streams_(streams), admit_(std::move(admit)) {}

  bool empty() const noexcept { return commands_.empty(); }
  std::size_t size() const noexcept { return commands_.size(); }
  // No room: the drain stops consuming until something leaves.
  bool full() const noexcept { return bytes_ >= kMaxParkedBytes; }
  // True when the command has to stay behind what is parked, or its stream is full.
  bool must_wait(const OrderPlace& place) {
    if (!commands_.empty()) return is_held(held_, place);
    return place.counts && streams_.is_full(*place.stream);
  }
  // The same, or it is not admitted.
  bool must_park(const Command& command, const OrderPlace& place);
  void park(const Command& command, const OrderPlace& place);
  // Runs, in order, every parked command that may run now.
  void release(const std::function<void(const Command&, const OrderPlace&)>& run);
  void clear();

 private:
  struct Parked {
    OwnedCommand command;
    OrderPlace place;
  };
  // What parked commands hold back. Counted, so that one can leave before another.
  struct Held {
    std::unordered_map<std::uint64_t, std::uint32_t> streams;
    std::unordered_map<std::uint64_t, std::uint32_t> events;
    std::uint32_t all = 0;
  };
  static void hold(Held& held, const OrderPlace& place);
  bool is_held(const Held& held, const OrderPlace& place);

  Streams& streams_;
  const Admit admit_;
  std::list<Parked> commands_;
  Held held_;
  std::uint64_t bytes_ = 0;
};

}  // namespace phos::executor
