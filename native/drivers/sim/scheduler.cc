// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/scheduler.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "drivers/sim/context.h"

namespace phos::sim {
namespace {

// How long the device's thread and waiters look before they sleep. A sleep costs the other side a
// system call; spinning for longer would take a core from the program on a small machine.
constexpr std::uint64_t kSpinNs = 3000;
// While only memory can make progress possible, it is looked at this often, less and less.
constexpr unsigned kPollFastRounds = 64;
constexpr auto kPollFast = std::chrono::microseconds(20);
constexpr auto kPollSlow = std::chrono::microseconds(200);
// A submitter sleeps when its stream holds this many operations, as a real queue fills up.
constexpr std::size_t kMaxQueue = 1U << 16;
// Seeded setting: how late an operation may start when nobody asks for its result.
constexpr std::uint64_t kMaxDelayNs = 2000000;

void pause_briefly() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

template <class Done>
bool spin_until(Done done) noexcept {
  const std::uint64_t end = now_ns() + kSpinNs;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) {
        return true;
      }
      pause_briefly();
    }
  } while (now_ns() < end);
  return false;
}

}  // namespace

std::uint64_t now_ns() noexcept {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1000000000U +
         static_cast<std::uint64_t>(time.tv_nsec);
}

Scheduler::Scheduler(std::mutex& lock, std::optional<std::uint64_t> seed) : lock_(lock) {
  if (seed) {
    random_.emplace(*seed);
  }
}

void Scheduler::submit(Stream& stream, std::unique_ptr<Operation> operation) {
  operation->sequence = next_sequence_++;
  stream.last = operation->sequence;
  operation->submitted(stream);
  if (!stream.non_blocking) {
    ++stream.context->blocking_pending;
  }
  if (stream.queue.empty() && random_) {
    stream.not_before_ns = now_ns() + (*random_)() % kMaxDelayNs;
  }
  stream.queue.push_back(std::move(operation));
  if (!stream.active) {
    stream.active = true;
    active_.push_back(&stream);
  }
  if (!started_) {
    started_ = true;
    // The thread inherits a mask without signals: they are the program's business.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread([this] { run(); }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  signal();
}

void Scheduler::signal() noexcept {
  signalled_.store(true, std::memory_order_release);
  if (sleeping_) {
    sleeping_ = false;
    wake_wanted_ = true;
  }
}

bool Scheduler::take_wake() noexcept {
  const bool wanted = wake_wanted_;
  wake_wanted_ = false;
  return wanted;
}

void Scheduler::demand() noexcept {
  if (random_ && demand_until_ + 1 < next_sequence_) {
    demand_until_ = next_sequence_ - 1;
    signal();
  }
}

bool Scheduler::is_idle(const Stream& stream) const noexcept {
  return stream.queue.empty() && (stream.non_blocking || stream.context->blocking_pending == 0);
}

void Scheduler::sleep(std::unique_lock<std::mutex>& guard, Waiter& waiter) {
  demand();
  const bool wake_worker = take_wake();
  guard.unlock();
  if (wake_worker) {
    wake();
  }
  spin_until([&waiter] { return waiter.done.load(std::memory_order_acquire); });
  guard.lock();
  while (!waiter.done.load(std::memory_order_acquire)) {
    waiter.wake.wait(guard);
  }
}

void Scheduler::wait(std::unique_lock<std::mutex>& guard, Stream& stream, std::uint64_t target) {
  if (stream.completed >= target || stream.queue.empty()) {
    return;
  }
  Waiter waiter;
  waiter.target = target;
  stream.waiters.push_back(&waiter);
  sleep(guard, waiter);
}

void Scheduler::wait(std::unique_lock<std::mutex>& guard, Fence& fence) {
  if (fence.done) {
    return;
  }
  Waiter waiter;
  fence.waiters.push_back(&waiter);
  sleep(guard, waiter);
}

void Scheduler::wait_for_room(std::unique_lock<std::mutex>& guard, Stream& stream) {
  if (stream.queue.size() >= kMaxQueue) {
    wait(guard, stream, stream.queue[kMaxQueue / 4]->sequence);
  }
}

void Scheduler::run() {
  pthread_setname_np(pthread_self(), "phos-sim");
  std::unique_lock guard(lock_);
  for (;;) {
    bool poll = false;
    signalled_.store(false, std::memory_order_relaxed);
    Stream* stream = random_ ? pick_seeded(poll) : pick(poll);
    if (stream == nullptr) {
      sleep(guard, poll);
    } else {
      idle_polls_ = 0;
      step(guard, *stream);
    }
  }
}

void Scheduler::sleep(std::unique_lock<std::mutex>& guard, bool poll) {
  if (poll) {
    sleeping_ = true;
    work_.wait_for(guard, ++idle_polls_ < kPollFastRounds ? kPollFast : kPollSlow);
    sleeping_ = false;
    return;
  }
  guard.unlock();
  const bool found =
      spin_until([this] { return signalled_.load(std::memory_order_acquire); });
  guard.lock();
  if (found) {
    return;
  }
  while (!signalled_.load(std::memory_order_relaxed)) {
    sleeping_ = true;
    work_.wait(guard);
  }
  sleeping_ = false;
}

// The legacy stream and the blocking streams of a context wait for each other's earlier work.
bool Scheduler::passes_barrier(const Stream& stream) const noexcept {
  if (stream.non_blocking) {
    return true;
  }
  const Context& context = *stream.context;
  if (context.blocking_pending == stream.queue.size()) {
    return true;
  }
  const std::uint64_t sequence = stream.queue.front()->sequence;
  if (stream.kind != StreamKind::legacy) {
    const Stream& legacy = *context.legacy;
    return legacy.queue.empty() || legacy.queue.front()->sequence > sequence;
  }
  return std::all_of(context.streams.begin(), context.streams.end(), [&](const Stream* other) {
    return other == &stream || other->non_blocking || other->queue.empty() ||
           other->queue.front()->sequence > sequence;
  });
}

bool Scheduler::may_run(Stream& stream, bool& poll) const {
  if (stream.queue.empty() || stream.stepping || stream.context->dropping ||
      !passes_barrier(stream)) {
    return false;
  }
  Operation& head = *stream.queue.front();
  if (head.ready()) {
    return true;
  }
  poll = poll || head.polls();
  return false;
}

Stream* Scheduler::pick(bool& poll) {
  Stream* best = nullptr;
  std::uint64_t best_turn = 0;
  for (Stream* stream : active_) {
    if (stream->queue.empty()) {
      continue;
    }
    const std::uint64_t turn = std::max(stream->turn_floor, stream->queue.front()->sequence);
    if ((best == nullptr || turn < best_turn) && may_run(*stream, poll)) {
      best = stream;
      best_turn = turn;
    }
  }
  return best;
}

// Any stream whose head may run, in random order. An operation that nobody has asked for is also
// delayed for a while, since a program that reads results without waiting must not be lucky.
Stream* Scheduler::pick_seeded(bool& poll) {
  std::vector<Stream*> ready;
  std::vector<Stream*> stalled;
  const std::uint64_t now = now_ns();
  for (Stream* stream : active_) {
    if (!may_run(*stream, poll)) {
      continue;
    }
    const bool demanded = stream->queue.front()->sequence <= demand_until_;
    if (!demanded && stream->not_before_ns > now) {
      poll = true;
    } else if (stream->stalled_rounds > 0) {
      --stream->stalled_rounds;
      stalled.push_back(stream);
    } else {
      ready.push_back(stream);
    }
  }
  if (ready.empty()) {
    ready.swap(stalled);
  }
  if (ready.empty()) {
    return nullptr;
  }
  Stream* chosen = ready[(*random_)() % ready.size()];
  if ((*random_)() % 4 == 0) {
    // Held back for some rounds after this one, so that others overtake it by far.
    chosen->stalled_rounds = static_cast<unsigned>((*random_)() % 16);
  }
  return chosen;
}

void Scheduler::step(std::unique_lock<std::mutex>& guard, Stream& stream) {
  Operation& operation = *stream.queue.front();
  Turn turn{random_ ? &*random_ : nullptr};
  stream.stepping = true;
  guard.unlock();
  step_lock_.lock();
  const Step outcome = operation.step(turn);
  step_lock_.unlock();
  guard.lock();
  stream.stepping = false;
  switch (outcome) {
    case Step::done:
      pop(stream, CUDA_SUCCESS);
      remove_idle();
      break;
    case Step::more:
      stream.turn_floor = next_sequence_;
      break;
    case Step::next:
    case Step::blocked:
      break;
    case Step::fault:
      fail(stream, operation.fault());
      break;
  }
}

void Scheduler::pop(Stream& stream, CUresult status) {
  const std::unique_ptr<Operation> operation = std::move(stream.queue.front());
  stream.queue.pop_front();
  stream.turn_floor = 0;
  stream.completed = operation->sequence;
  if (!stream.non_blocking) {
    --stream.context->blocking_pending;
  }
  if (random_ && !stream.queue.empty()) {
    stream.not_before_ns = now_ns() + (*random_)() % kMaxDelayNs;
  }
  operation->finished(status);
  if (!stream.waiters.empty()) {
    const auto passed = [&stream](Waiter* waiter) {
      if (waiter->target > stream.completed) {
        return false;
      }
      waiter->finish();
      return true;
    };
    stream.waiters.erase(
        std::remove_if(stream.waiters.begin(), stream.waiters.end(), passed),
        stream.waiters.end());
  }
}

void Scheduler::remove_idle() {
  for (std::size_t i = 0; i < active_.size();) {
    Stream* stream = active_[i];
    if (!stream->queue.empty()) {
      ++i;
      continue;
    }
    active_[i] = active_.back();
    active_.pop_back();
    stream->active = false;
    if (stream->keep_alive) {
      auto& all = stream->context->streams;
      all.erase(std::remove(all.begin(), all.end(), stream), all.end());
      const std::shared_ptr<Stream> last = std::move(stream->keep_alive);
    }
  }
}

void Scheduler::fail(Stream& stream, const Fault& fault) {
  Context& context = *stream.context;
  if (context.error == CUDA_SUCCESS) {
    context.error = fault.status;
    context.diagnostic = fault.text;
    std::fprintf(stderr, "phos sim: CUDA error %d: %s\n", static_cast<int>(fault.status),
                 fault.text.c_str());
  }
  drop_queues(context, context.error);
}

void Scheduler::drop_queues(Context& context, CUresult status) {
  for (Stream* stream : context.streams) {
    while (!stream->queue.empty()) {
      pop(*stream, status);
    }
  }
  remove_idle();
}

void Scheduler::drop(std::unique_lock<std::mutex>& guard, Context& context, CUresult status) {
  const auto stepping = [&context] {
    return std::any_of(context.streams.begin(), context.streams.end(),
                       [](const Stream* stream) { return stream->stepping; });
  };
  context.dropping = true;
  while (stepping()) {
    guard.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    guard.lock();
  }
  drop_queues(context, status);
  context.dropping = false;
}

}  // namespace phos::sim
