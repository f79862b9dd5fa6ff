// SPDX-License-Identifier: Apache-2.0
#include "executor/callbacks.h"

#include "executor/host_arenas.h"
#include "ring/futex.h"

namespace phos::executor {

CUresult Callbacks::enqueue(CUstream stream, std::uint64_t id, bool with_status) {
  if (arenas_.staging() == nullptr) return CUDA_ERROR_NOT_INITIALIZED;
  Ticket* ticket = nullptr;
  {
    const std::lock_guard lock(mutex_);
    tickets_.push_back({this, id});
    ticket = &tickets_.back();
  }
  return with_status ? driver_.cuStreamAddCallback(stream, &on_stream_callback, ticket, 0)
                     : driver_.cuLaunchHostFunc(stream, &on_host_function, ticket);
}

CUDA_HOST_NODE_PARAMS Callbacks::as_node(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  tickets_.push_back({this, id});
  return {&on_host_function, &tickets_.back()};
}

void Callbacks::on_host_function(void* user) {
  const auto* ticket = static_cast<const Ticket*>(user);
  ticket->owner->run(ticket->id, CUDA_SUCCESS);
}

void Callbacks::on_stream_callback(CUstream /*stream*/, CUresult status, void* user) {
  const auto* ticket = static_cast<const Ticket*>(user);
  ticket->owner->run(ticket->id, status);
}

void Callbacks::run(std::uint64_t id, CUresult status) noexcept {
  StagingHeader* header = arenas_.staging();
  if (header == nullptr) return;
  running_.fetch_add(1, std::memory_order_acq_rel);
  CallbackSlot* slot = nullptr;
  while (slot == nullptr && !abandoned_.load(std::memory_order_acquire)) {
    const std::uint32_t done = header->done.load(std::memory_order_seq_cst);
    for (CallbackSlot& candidate : header->callbacks) {
      std::uint32_t free = kCallbackFree;
      // Only executor threads take slots; kCallbackRunning marks one that is being filled.
      if (candidate.state.compare_exchange_strong(free, kCallbackRunning)) {
        slot = &candidate;
        break;
      }
    }
    if (slot == nullptr) {
      ring::futex_wait(header->done, done, ring::kSliceNs, ring::Scope::shared);
    }
  }
  if (slot != nullptr) {
    slot->status = static_cast<std::uint32_t>(status);
    slot->id = id;
    slot->state.store(kCallbackPosted, std::memory_order_seq_cst);
    header->posted.fetch_add(1, std::memory_order_seq_cst);
    ring::futex_wake(header->posted, 1 << 30, ring::Scope::shared);
    while (!abandoned_.load(std::memory_order_acquire)) {
      const std::uint32_t done = header->done.load(std::memory_order_seq_cst);
      if (slot->state.load(std::memory_order_seq_cst) == kCallbackDone) break;
      ring::futex_wait(header->done, done, ring::kSliceNs, ring::Scope::shared);
    }
    slot->state.store(kCallbackFree, std::memory_order_seq_cst);
  }
  running_.fetch_sub(1, std::memory_order_acq_rel);
}

}  // namespace phos::executor
