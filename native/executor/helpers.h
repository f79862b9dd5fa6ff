// SPDX-License-Identifier: Apache-2.0
// Threads for driver calls that may block, so that the drain thread never enters one. They start
// on demand, have the executor's context current, and are joined when the session ends.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace phos::executor {

inline constexpr std::uint32_t kMaxHelpers = 64;

class Helpers {
 public:
  // `enter` runs first on every thread.
  explicit Helpers(std::function<void()> enter) : enter_(std::move(enter)) {}
  ~Helpers() { stop(); }

  // Runs `task` on an idle thread, or on a new one. False when kMaxHelpers are busy: the caller
  // keeps the task.
  bool try_run(std::function<void()> task);
  // As try_run(), but waits its turn where every thread is busy.
  void run(std::function<void()> task);
  // Waits until no task is left, at most `timeout_ms`. False at the timeout.
  bool wait_idle(std::uint32_t timeout_ms);
  std::uint32_t busy();
  // Ends the threads once their tasks are done.
  void stop();

 private:
  void work();
  bool start_thread();  // with mutex_ held

  const std::function<void()> enter_;
  std::mutex mutex_;
  std::condition_variable more_;
  std::condition_variable done_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  std::uint32_t idle_ = 0;
  std::uint32_t busy_ = 0;
  bool stopping_ = false;
};

}  // namespace phos::executor
