// SPDX-License-Identifier: Apache-2.0
#include "client/fork.h"

#include <pthread.h>

#include "client/agent.h"
#include "client/process.h"
#include "client/staging.h"
#include "client/thread_state.h"

namespace phos::client {

namespace {

void after_in_child() {
  // The ring, the arenas and the agent thread are not there (MADV_DONTFORK); locks that other
  // threads held will never be released, and no path leads to them any more.
  g_process.phase.store(Phase::forked, std::memory_order_release);
  unlock_agent();
  drop_agent_in_child();
  g_process.producer.close();
  g_process.shared_slot_lock.reset();
  g_process.ring = nullptr;
  reset_staging_in_child();
  t_state = nullptr;
}

}  // namespace

void watch_forks() noexcept {
  static bool done = false;  // under the initialisation lock
  if (done) return;
  done = true;
  pthread_atfork(lock_agent, unlock_agent, after_in_child);
}

}  // namespace phos::client
