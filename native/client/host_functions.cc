// SPDX-License-Identifier: Apache-2.0
// Runs the program's host functions and stream callbacks, one after the other, in a thread of its
// own. The executor posts them in the staging arena and keeps the stream waiting meanwhile.
#include <pthread.h>
#include <signal.h>

#include <new>
#include <unordered_map>

#include "client/call.h"
#include "client/log.h"
#include "client/staging.h"
#include "ring/futex.h"

namespace phos::client {

namespace {

struct Registry {
  ring::FutexLock lock;
  std::unordered_map<std::uint64_t, HostFunction>* functions = nullptr;
  std::uint64_t next_id = 1;
  bool has_thread = false;
};
constinit Registry g_registry;
thread_local bool t_in_host_function = false;

bool find_function(std::uint64_t id, HostFunction* function) noexcept {
  g_registry.lock.lock();
  const auto found = g_registry.functions->find(id);
  const bool known = found != g_registry.functions->end();
  if (known) {
    *function = found->second;
    if (!function->keep) g_registry.functions->erase(found);
  }
  g_registry.lock.unlock();
  return known;
}

void run(CallbackSlot& slot) noexcept {
  HostFunction function{};
  if (!find_function(slot.id, &function)) {
    log("the executor asked for host function %llu, which is not known",
        static_cast<unsigned long long>(slot.id));
    return;
  }
  t_in_host_function = true;
  if (function.callback != nullptr) {
    function.callback(function.stream, static_cast<CUresult>(slot.status), function.data);
  } else {
    function.function(function.data);
  }
  t_in_host_function = false;
}

void* callback_main(void*) {
  pthread_setname_np(pthread_self(), "phos-callbacks");
  StagingHeader* staging = staging_header();
  for (;;) {
    const std::uint32_t seen = staging->posted.load(std::memory_order_seq_cst);
    bool found = false;
    for (CallbackSlot& slot : staging->callbacks) {
      std::uint32_t posted = kCallbackPosted;
      if (!slot.state.compare_exchange_strong(posted, kCallbackRunning)) continue;
      found = true;
      run(slot);
      slot.state.store(kCallbackDone, std::memory_order_seq_cst);
      staging->done.fetch_add(1);
      ring::futex_wake(staging->done, 1 << 30, ring::Scope::shared);
    }
    if (!found) ring::futex_wait(staging->posted, seen, 1'000'000'000, ring::Scope::shared);
  }
}

bool start_thread() noexcept {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_t thread{};
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(&thread, nullptr, callback_main, nullptr);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error == 0) pthread_detach(thread);
  return error == 0;
}

}  // namespace

CUresult add_host_function(const HostFunction& function, std::uint64_t* id) noexcept {
  g_registry.lock.lock();
  if (g_registry.functions == nullptr) {
    g_registry.functions = new (std::nothrow) std::unordered_map<std::uint64_t, HostFunction>();
  }
  CUresult status = CUDA_ERROR_OUT_OF_MEMORY;
  if (g_registry.functions != nullptr) {
    if (!g_registry.has_thread) g_registry.has_thread = start_thread();
    status = g_registry.has_thread ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
  }
  if (status == CUDA_SUCCESS) {
    *id = g_registry.next_id++;
    g_registry.functions->emplace(*id, function);
  }
  g_registry.lock.unlock();
  return status;
}

void forget_host_function(std::uint64_t id) noexcept {
  g_registry.lock.lock();
  if (g_registry.functions != nullptr) g_registry.functions->erase(id);
  g_registry.lock.unlock();
}

bool in_host_function() noexcept { return t_in_host_function; }

}  // namespace phos::client
