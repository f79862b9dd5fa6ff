// SPDX-License-Identifier: Apache-2.0
// Runs the operations of all streams on one thread.
//
// Fast setting: of the streams whose head may run, the one with the lowest sequence number goes
// first, which is the order of submission; that order always ends, since an event can only be
// waited for after it was recorded. A kernel that has used up its quantum steps behind everything
// that was submitted meanwhile, so that one which spins on a word that another stream writes ends.
// Seeded setting (PHOS_SIM_SEED): any legal order, in random pieces, and as late as CUDA allows.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include "drivers/sim/operation.h"
#include "drivers/sim/stream.h"

namespace phos::sim {

class Scheduler {
 public:
  Scheduler(std::mutex& lock, std::optional<std::uint64_t> seed);

  // All with the runtime lock held.
  void submit(Stream& stream, std::unique_ptr<Operation> operation);
  // Something outside has made an operation ready.
  void signal() noexcept;
  // Nothing that was submitted to `stream`, or that it must wait for, is still to run.
  bool is_idle(const Stream& stream) const noexcept;
  bool is_seeded() const noexcept { return random_.has_value(); }
  // Someone wants results: the seeded scheduler stops delaying.
  void demand() noexcept;
  std::uint64_t next_sequence() const noexcept { return next_sequence_; }

  // Sleep until `stream` has completed `target`, releasing the lock meanwhile.
  void wait(std::unique_lock<std::mutex>& guard, Stream& stream, std::uint64_t target);
  void wait(std::unique_lock<std::mutex>& guard, Fence& fence);
  // The stream's queue is too long: sleep until it is shorter.
  void wait_for_room(std::unique_lock<std::mutex>& guard, Stream& stream);

  // Drops everything that is queued in the context, with `status`. Waits for a running step.
  void drop(std::unique_lock<std::mutex>& guard, Context& context, CUresult status);

  // Held while a step runs: whoever holds it knows that nothing on the device follows an address.
  std::mutex& step_lock() noexcept { return step_lock_; }

  // Must a thread that released the lock wake the device's thread?
  bool take_wake() noexcept;
  void wake() noexcept { work_.notify_one(); }

 private:
  void run();
  void sleep(std::unique_lock<std::mutex>& guard, bool poll);
  void sleep(std::unique_lock<std::mutex>& guard, Waiter& waiter);
  Stream* pick(bool& poll);
  Stream* pick_seeded(bool& poll);
  bool may_run(Stream& stream, bool& poll) const;
  bool passes_barrier(const Stream& stream) const noexcept;
  void step(std::unique_lock<std::mutex>& guard, Stream& stream);
  void pop(Stream& stream, CUresult status);
  void fail(Stream& stream, const Fault& fault);
  void drop_queues(Context& context, CUresult status);
  void remove_idle();

  std::mutex& lock_;
  std::mutex step_lock_;  // held by the device's thread during a step
  std::condition_variable work_;
  std::atomic<bool> signalled_{false};
  bool sleeping_ = false;
  bool wake_wanted_ = false;
  bool started_ = false;
  std::uint64_t next_sequence_ = 1;
  std::vector<Stream*> active_;
  std::optional<std::mt19937_64> random_;
  std::uint64_t demand_until_ = 0;  // operations up to this sequence are not delayed
  unsigned idle_polls_ = 0;
};

}  // namespace phos::sim
