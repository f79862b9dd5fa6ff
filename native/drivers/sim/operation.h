// SPDX-License-Identifier: Apache-2.0
// One command in a stream: what it is, how it runs piece by piece, and what follows from its end.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "phos/cuda_abi.h"

namespace phos::sim {

struct Stream;

// A thread that sleeps until a stream or fence has passed a point. `done` is set under the runtime
// lock; the owner takes that lock again before the waiter ends.
struct Waiter {
  std::condition_variable wake;
  std::atomic<bool> done{false};
  std::uint64_t target = 0;

  void finish() {
    done.store(true, std::memory_order_release);
    wake.notify_one();
  }
};

// A point in a stream that others wait for: one record of an event. Guarded by the runtime lock.
struct Fence {
  bool done = false;
  CUresult status = CUDA_SUCCESS;
  std::uint64_t time_ns = 0;
  std::vector<Waiter*> waiters;

  void complete(CUresult result, std::uint64_t now_ns) {
    done = true;
    status = result;
    time_ns = now_ns;
    for (Waiter* waiter : waiters) {
      waiter->finish();
    }
    waiters.clear();
  }
};

// What a step may use. `random` is null in the fast setting; with the seeded scheduler operations
// do a random part of their work and return Step::more.
struct Turn {
  std::mt19937_64* random = nullptr;
};

enum class Step : std::uint8_t {
  done,
  next,     // a part is done; ready() says whether there is another that may run now
  more,     // the quantum is used up; others may run first
  blocked,  // ready() answers false until something else happens
  fault,    // fault() says what; the context is dead
};

struct Fault {
  CUresult status = CUDA_SUCCESS;
  std::string text;  // for people: kernel, block, thread, opcode, address
};

class Operation {
 public:
  Operation() = default;
  Operation(const Operation&) = default;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() = default;

  // With the runtime lock. Called when the operation takes its place in a stream.
  virtual void submitted(Stream& /*stream*/) {}
  // With the runtime lock. May step() be called now? Only asked at the head of its stream.
  virtual bool ready() { return true; }
  // True if ready() must be asked again and again, because memory may change without a signal.
  virtual bool polls() const { return false; }
  // Without the lock, on the device's thread.
  virtual Step step(Turn& turn) = 0;
  // With the lock: it ran to its end, or it was dropped because the context died of `status`.
  virtual void finished(CUresult /*status*/) {}
  // A copy that has not started, for graphs and their launches.
  virtual std::unique_ptr<Operation> clone() const = 0;

  const Fault& fault() const noexcept { return fault_; }
  std::uint64_t sequence = 0;

 protected:
  Fault fault_;
};

// Monotonic clock.
std::uint64_t now_ns() noexcept;

}  // namespace phos::sim
