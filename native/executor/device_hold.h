// SPDX-License-Identifier: Apache-2.0
// Holding the program's streams on the device while a cut's memory is copied there.
//
// A stream of our own (non-blocking) waits for everything that the program submitted before the
// cut, works, and then writes a word; every command that the program submits after the cut waits
// for that word (cuStreamWaitValue32), stream by stream, when it first comes. The word lies in host
// memory, so that the host can let everybody go at any time. Nobody waits on the CPU.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "executor/session.h"

namespace phos::executor {

struct HoldFigures {
  std::uint64_t hold_ns = 0;   // all earlier work done -> the held stream may go on; the longest
  std::uint64_t wait_ns = 0;   // a stream's own last command -> all streams' earlier work done
  std::uint32_t driver_calls = 0;  // made while the device holds the program, or for that
  std::uint32_t streams_before = 0;  // that had work under way at the cut
  std::uint32_t streams_held = 0;
};

class DeviceHold {
 public:
  explicit DeviceHold(Session& session) : session_(session) {}
  ~DeviceHold();
  DeviceHold(const DeviceHold&) = delete;
  DeviceHold& operator=(const DeviceHold&) = delete;

  // Makes the stream, the word and the events. Throws DEVICE. Before anything is held.
  void prepare();
  // From here on `stream()` runs after everything submitted so far. With the session's lock.
  void begin();
  // What was put on `stream()` since begin() is what the program waits for. With the lock.
  void end();
  // The program is about to submit to one of its streams. With the lock, between end() and
  // passed(). Never for a stream that is capturing.
  CUresult before_command(std::uint64_t wire, CUstream real);
  // Lets every held stream go at once, whatever our own stream is doing. Any thread.
  void release() noexcept;

  // Our own stream has come to the end. False while it has not; throws DEVICE for a dead context.
  bool passed();
  // Nothing of ours is under way on the device any more; also true before begin().
  bool quiet() noexcept;
  CUstream stream() const noexcept { return stream_; }
  CUevent end_event() const noexcept { return copied_; }
  void count_call(std::uint32_t calls = 1) noexcept { figures_.driver_calls += calls; }
  // With the lock, once passed().
  HoldFigures figures();

 private:
  CUevent make_timer();
  std::uint64_t elapsed_ns(CUevent from, CUevent to) const noexcept;

  Session& session_;
  CUstream stream_ = nullptr;
  std::uint32_t* word_ = nullptr;  // pinned; 1 lets go
  CUevent started_ = nullptr;
  CUevent copied_ = nullptr;
  std::vector<CUevent> ends_;                          // of streams at the cut
  std::unordered_map<std::uint64_t, CUevent> held_;    // by wire: after the wait
  HoldFigures figures_;
  bool begun_ = false;
  bool ended_ = false;
  bool passed_ = false;
};

}  // namespace phos::executor
