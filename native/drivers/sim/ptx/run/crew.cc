// SPDX-License-Identifier: Apache-2.0
#include "crew.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

#include "../handlers/key.h"
#include "../threads.h"

namespace phos::sim::ptx {
namespace {

constexpr std::uint32_t kMostThreads = 64;

std::atomic<std::uint32_t>& wanted() noexcept {
  static std::atomic<std::uint32_t> count{1};
  return count;
}

// One thread that waits for work. It is never joined: the library may outlive main().
class Mate {
 public:
  void offer(const std::function<void(std::uint32_t)>* task, std::uint32_t index) {
    {
      const std::lock_guard lock(mutex_);
      task_ = task;
      index_ = index;
      state_ = State::offered;
      if (!started_) {
        started_ = true;
        start();
      }
    }
    changed_.notify_all();
  }
  // Takes the offer back, or waits until the task has ended.
  void settle() {
    std::unique_lock lock(mutex_);
    if (state_ == State::offered) {
      state_ = State::idle;
    }
    changed_.wait(lock, [this] { return state_ == State::idle; });
  }

 private:
  enum class State : std::uint8_t { idle, offered, running };

  void start() {
    // The thread inherits a mask without signals: they are the program's business.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread([this] { serve(); }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  void serve() {
    pthread_setname_np(pthread_self(), "phos-sim-mate");
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return state_ == State::offered; });
      state_ = State::running;
      const auto* task = task_;
      const std::uint32_t index = index_;
      lock.unlock();
      (*task)(index);
      lock.lock();
      state_ = State::idle;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(std::uint32_t)>* task_ = nullptr;
  std::uint32_t index_ = 0;
  State state_ = State::idle;
  bool started_ = false;
};

struct Crew {
  std::mutex mutex;
  std::array<Mate, kMostThreads> mates;
};

Crew& crew() {
  static auto* one = new Crew;
  return *one;
}

bool is_ordered(std::string_view form) {
  const std::string_view base = form.substr(0, form.find('.'));
  if (base == "atom" || base == "red" || base == "membar" || base == "fence" ||
      base == "nanosleep") {
    return true;
  }
  for (const std::string_view word : {".volatile", ".relaxed", ".acquire", ".release", ".mmio"}) {
    if (form.find(word) != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

bool reads_clock(Handler run) {
  static const std::vector<Handler> clocks = [] {
    std::vector<Handler> found;
    for (const Key& key : {Key{.op = Op::clock, .type = Type::u32},
                           Key{.op = Op::clock_hi, .type = Type::u32},
                           Key{.op = Op::clock, .type = Type::u64},
                           Key{.op = Op::globaltimer, .type = Type::u64},
                           Key{.op = Op::timer32, .type = Type::u32}}) {
      found.push_back(isa_baseline::find(key));
#ifndef PHOS_PTX_BASELINE_ONLY
      found.push_back(isa_v3::find(key));
#endif
    }
    return found;
  }();
  return std::find(clocks.begin(), clocks.end(), run) != clocks.end();
}

bool may_spread(const Program& program, std::uint32_t index, std::vector<bool>& seen) {
  if (seen[index]) {
    return true;
  }
  seen[index] = true;
  const CodeFunction& function = program.functions[index];
  if (function.uses_grid_sync) {
    return false;
  }
  for (const Instr& instr : function.code) {
    if (instr.kind == Kind::external || instr.kind == Kind::yield || reads_clock(instr.run) ||
        (instr.form < program.forms.size() && is_ordered(program.forms[instr.form]))) {
      return false;
    }
  }
  for (const CallSite& site : function.calls) {
    if (site.indirect || site.function >= program.functions.size() ||
        !may_spread(program, site.function, seen)) {
      return false;
    }
  }
  return true;
}

}  // namespace

void set_threads(std::uint32_t count) noexcept {
  wanted().store(count < 1 ? 1 : count > kMostThreads ? kMostThreads : count);
}

std::uint32_t crew_size() noexcept { return wanted().load(std::memory_order_relaxed); }

void run_crew(std::uint32_t count, const std::function<void(std::uint32_t)>& task) {
  const std::unique_lock lock(crew().mutex, std::try_to_lock);
  if (!lock.owns_lock() || count < 2) {
    task(0);
    return;
  }
  for (std::uint32_t i = 1; i < count; ++i) {
    crew().mates[i].offer(&task, i);
  }
  task(0);
  for (std::uint32_t i = 1; i < count; ++i) {
    crew().mates[i].settle();
  }
}

bool may_spread(const Program& program, std::uint32_t function) {
  std::vector<bool> seen(program.functions.size(), false);
  return may_spread(program, function, seen);
}

}  // namespace phos::sim::ptx
