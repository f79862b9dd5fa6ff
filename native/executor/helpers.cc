// SPDX-License-Identifier: Apache-2.0
#include "executor/helpers.h"

#include <chrono>
#include <utility>

namespace phos::executor {

bool Helpers::start_thread() {
  if (stopping_ || threads_.size() >= kMaxHelpers) return false;
  threads_.emplace_back([this] { work(); });
  return true;
}

bool Helpers::try_run(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (idle_ <= tasks_.size() && !start_thread()) return false;
  tasks_.push_back(std::move(task));
  more_.notify_one();
  return true;
}

void Helpers::run(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (idle_ <= tasks_.size()) start_thread();
  tasks_.push_back(std::move(task));
  more_.notify_one();
}

bool Helpers::wait_idle(std::uint32_t timeout_ms) {
  std::unique_lock lock(mutex_);
  return done_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                        [this] { return tasks_.empty() && busy_ == 0; });
}

std::uint32_t Helpers::busy() {
  const std::lock_guard lock(mutex_);
  return busy_ + static_cast<std::uint32_t>(tasks_.size());
}

void Helpers::work() {
  enter_();
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    more_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    --idle_;
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    ++busy_;
    lock.unlock();
    task();
    // Whatever the task holds is destroyed before it counts as done.
    task = nullptr;
    lock.lock();
    --busy_;
    if (tasks_.empty() && busy_ == 0) done_.notify_all();
  }
}

void Helpers::stop() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
    more_.notify_all();
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace phos::executor
