// SPDX-License-Identifier: Apache-2.0
// How far the device has come on each stream: what bounds the commands outstanding in the driver,
// and what tells when freed memory may be used again.
//
// Every kMarkEvery commands an event of our own is recorded behind them. No marker and no query
// goes to a stream that is capturing: it would end up in the program's graph, or invalidate it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

#include "gen/driver_table.h"

namespace phos::executor {

inline constexpr std::uint32_t kMaxOutstanding = 256;
inline constexpr std::uint32_t kMarkEvery = 64;

class Streams {
 public:
  explicit Streams(const DriverTable& driver) : driver_(driver) {}
  ~Streams();

  // One more command was handed to the driver on this stream.
  // `function`: the kernel that was launched, 0 for other commands.
  void submitted(std::uint64_t wire, CUstream real, std::uint64_t function = 0);
  // The same where the stream is that of the last command; false, and nothing is done, elsewhere.
  bool submitted_again(std::uint64_t wire, std::uint64_t function) {
    if (wire != last_wire_ || last_state_ == nullptr) return false;
    count(*last_state_, function);
    return true;
  }
  // True when kMaxOutstanding commands of the stream have not finished yet.
  bool is_full(std::uint64_t wire) {
    if (wire == last_wire_ && last_state_ != nullptr &&
        last_state_->count - last_state_->passed_count < kMaxOutstanding) {
      return false;
    }
    return is_full_after_look(wire);
  }
  // The stream is about to be destroyed. What is under way on it still counts.
  void forget(std::uint64_t wire);

  // A number for "everything submitted so far".
  std::uint64_t stamp() const noexcept { return sequence_; }
  // True once every stream has passed what was submitted before `stamp`.
  bool passed(std::uint64_t stamp);
  // Records an event of our own behind everything under way on each stream that is not idle and
  // not capturing, and adds it to `events`.
  CUresult record_all(std::vector<CUevent>& events);
  // Calls `visit` for every stream that has something under way and is not capturing: its handle
  // and null, or for a destroyed stream null and an event of ours behind its last command. Ends at
  // the first visit that fails.
  CUresult each_busy(const std::function<CUresult(CUstream real, CUevent marker)>& visit);
  // True once nothing is under way. Capturing streams have nothing under way.
  bool idle();

  // A stream that has something under way, and its last kernel.
  bool first_busy(std::uint64_t* wire, std::uint64_t* function);

  void capture_began() noexcept { ++captures_; }
  void capture_ended() noexcept {
    if (captures_ != 0) --captures_;
  }
  std::uint32_t captures() const noexcept { return captures_; }
  bool is_capturing(CUstream real);

  // Events of our own (no timing), reused.
  CUevent take_event();
  void give_event(CUevent event);
  // Destroys every event of our own: the context is about to go.
  void drop_events();

 private:
  struct Marker {
    CUevent event;
    std::uint64_t count;     // commands before it
    std::uint64_t sequence;  // stamp of the last of them
  };
  struct State {
    CUstream real = nullptr;
    std::uint64_t function = 0;
    std::uint64_t count = 0;
    std::uint64_t passed_count = 0;
    std::uint64_t last_sequence = 0;
    std::uint64_t passed_sequence = 0;
    std::uint32_t since_mark = 0;
    std::deque<Marker> markers;
  };
  void count(State& state, std::uint64_t function) {
    ++state.count;
    if (function != 0) state.function = function;
    state.last_sequence = ++sequence_;
    if (++state.since_mark >= kMarkEvery) mark(state);
  }
  bool is_full_after_look(std::uint64_t wire);
  void mark(State& state);
  bool orphans_passed(std::uint64_t stamp);
  void advance(State& state);
  bool query_idle(State& state);

  const DriverTable& driver_;
  std::unordered_map<std::uint64_t, State> states_;
  // The stream of the last command: most commands go where the one before went.
  std::uint64_t last_wire_ = ~std::uint64_t{0};
  State* last_state_ = nullptr;
  std::vector<State> orphans_;  // of destroyed streams; only their markers tell
  std::uint64_t sequence_ = 0;
  std::uint32_t captures_ = 0;
  std::vector<CUevent> spare_;
};

}  // namespace phos::executor
