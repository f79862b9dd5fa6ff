// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/host_thread.h"

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace phos::sim {
namespace {

struct HostThread {
  std::mutex lock;
  std::condition_variable work;
  std::deque<std::function<void()>> queue;
  bool started = false;

  void run() {
    pthread_setname_np(pthread_self(), "phos-sim-host");
    std::unique_lock guard(lock);
    for (;;) {
      work.wait(guard, [this] { return !queue.empty(); });
      const std::function<void()> next = std::move(queue.front());
      queue.pop_front();
      guard.unlock();
      next();
      guard.lock();
    }
  }
};

// Never destroyed: a program may end while a function of its own is still running here.
HostThread& host_thread() {
  static auto* thread = new HostThread;
  return *thread;
}

}  // namespace

void run_on_host_thread(std::function<void()> function) {
  HostThread& thread = host_thread();
  const std::lock_guard guard(thread.lock);
  thread.queue.push_back(std::move(function));
  if (!thread.started) {
    thread.started = true;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread([&thread] { thread.run(); }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  thread.work.notify_one();
}

}  // namespace phos::sim
