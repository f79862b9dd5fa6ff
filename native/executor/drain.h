// SPDX-License-Identifier: Apache-2.0
// The consumer of one client's ring: takes commands in order, runs them, and never blocks in the
// driver.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "executor/parking.h"
#include "executor/session.h"
#include "ring/consumer.h"

namespace phos::executor {

enum class DrainEnd : std::uint8_t { stopped, superseded, slice };

struct DrainResult {
  DrainEnd end = DrainEnd::stopped;
  std::uint64_t commands = 0;
};

// Positions and counts, as of some moment between two batches.
struct DrainState {
  std::uint64_t position = 0;
  std::uint64_t head = 0;
  std::size_t parked = 0;
  std::uint32_t waits = 0;
  bool attached = false;
};

class Drain {
 public:
  explicit Drain(Session& session);

  // Takes over a ring mapped at `base`; the previous one is left as it is. The mapping must live as
  // long as the session. Consumption starts when run() sees it, unless the gate's cut holds it.
  ring::Fault attach(void* base, std::size_t bytes);
  // Stops consuming: the client has let go of the ring, or is gone. `drop` forgets what it has
  // parked.
  void detach(bool drop);

  // Consumes until stop(), or for `slice_ms` (0 = no limit). One thread at a time; another one
  // that calls it takes over and ends the first.
  DrainResult run(std::uint32_t slice_ms);
  void stop() noexcept;
  // stop(), and every later run() comes back at once: the executor closes, or the process leaves.
  void finish() noexcept;

  // A cut: nothing at or after `position` is consumed until lift_limit(). With the lock held.
  void set_limit(std::uint64_t position) noexcept { limit_ = position; }
  void lift_limit() noexcept;
  // Everything before the limit has been taken from the ring. With the lock held.
  bool at_limit() const noexcept {
    if (!open_) return true;
    if (limit_ != ring::kNoLimit) return consumer_.position() >= limit_;
    return consumer_.position() == header_.load()->head.load(std::memory_order_acquire);
  }
  DrainState state();
  RingHeader* header() noexcept { return header_.load(std::memory_order_acquire); }
  std::uint64_t commands() const noexcept { return commands_.load(std::memory_order_relaxed); }

  // Runs a saved command as if it had come from the ring: restore. With the lock held. The answer
  // comes back in any case; `nobody` says that no client thread would wait for it.
  enum class Waiting : std::uint8_t { somebody, nobody };
  CapturedReply replay(const SavedCommand& saved, Waiting waiting = Waiting::somebody);

 private:
  bool adopt_ring();
  bool batch(std::uint32_t epoch);
  std::uint32_t consume();
  bool linger(std::uint32_t epoch);
  bool is_called_off(std::uint32_t epoch) const noexcept;
  void take(const ring::Record& record);
  void execute(const Command& command, const OrderPlace& place);
  void run_on_helper(const Command& command, Handler handler);
  bool answer_query(const Command& command, const OrderPlace& place);
  void park(const Command& command, const OrderPlace& place);
  bool admits(const Command& command, const OrderPlace& place);
  void show_to_save(const Command& command, const OrderPlace& place);
  void corrupt(const char* what);
  void idle(std::uint64_t timeout_ns);
  void rest(std::uint64_t timeout_ns);
  void wake() noexcept;

  Session& session_;
  Parking parking_;
  ring::Consumer consumer_;
  std::atomic<RingHeader*> header_{nullptr};
  bool open_ = false;  // consumer_ may be used
  CUresult entered_ = CUDA_SUCCESS;  // the context is current on the thread that runs batch()
  std::uint64_t limit_ = ring::kNoLimit;
  void* incoming_base_ = nullptr;
  std::size_t incoming_bytes_ = 0;
  std::atomic<bool> has_incoming_{false};
  std::vector<OwnedCommand::Word> scratch_;
  std::atomic<std::uint64_t> commands_{0};
  std::atomic<std::uint32_t> run_epoch_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> finished_{false};
  std::atomic<std::uint32_t> wake_{0};  // futex word
};

}  // namespace phos::executor
