// SPDX-License-Identifier: Apache-2.0
// Replies that wait for the device. The drain polls them for a few microseconds; what takes longer
// goes to a helper thread that blocks in the driver. One client thread's wait never delays another
// thread's commands.
//
// A wait is for what was issued before it: it holds an event of our own, recorded at that moment,
// so that commands issued later by another thread (which may wait for this very reply) do not
// count.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "executor/command.h"

namespace phos::executor {

// Runs when the wait is over, on any thread; answers. `status` is what the device said.
using Finish = std::function<void(CUresult status, Reply& reply)>;

class Waits {
 public:
  explicit Waits(Session& session) : session_(session) {}

  // After everything issued on the stream so far. Answers at once when that has finished.
  void after_stream(CUstream real, Reply& reply, Finish finish = {});
  // After the work captured by the event's last record.
  void after_event(CUevent real, Reply& reply, Finish finish = {});
  // After everything issued on every stream so far.
  void after_all(Reply& reply, Finish finish = {});

  // Answers what is done. Called by the drain with the session's lock held.
  void poll();
  // Gives what is still open to helper threads. Called by the drain before it sleeps.
  void hand_over();
  // Waits not answered yet, those on helper threads included.
  std::uint32_t open() const noexcept { return open_.load(std::memory_order_acquire); }
  // Waits that only poll() can answer.
  std::size_t polled() const noexcept { return polled_.size(); }
  // Streams and events of our own go; nothing may be open.
  void drop_objects();

 private:
  struct Wait {
    Reply reply;
    Finish finish;
    std::vector<CUevent> events;      // all must have passed
    std::vector<CUstream> streams;    // helper streams to give back
  };
  void add(std::unique_ptr<Wait> wait);
  static void settle(CUresult status, Reply& reply, const Finish& finish);
  static void answer(Wait& wait, CUresult status);
  void give_back(Wait& wait);
  void collect();
  CUstream take_stream();

  Session& session_;
  std::list<std::unique_ptr<Wait>> polled_;
  std::atomic<std::uint32_t> open_{0};
  std::vector<CUstream> spare_streams_;
  std::mutex returned_mutex_;
  std::vector<std::unique_ptr<Wait>> returned_;  // answered on helper threads
};

}  // namespace phos::executor
