// SPDX-License-Identifier: Apache-2.0
// Contexts live in the client: the executor has one context for each client, and a context of the
// program is the set of objects that were made while it was current.
#pragma once

#include <atomic>
#include <cstdint>

#include "client/handle_table.h"
#include "phos/cuda_abi.h"

namespace phos::client {

struct ContextInfo {
  CUdevice device = 0;
  std::atomic<std::uint32_t> flags{0};
  unsigned long long id = 0;
  bool primary = false;
  std::atomic<bool> active{false};  // a primary context's handle is known before it is retained
};

// The info of a context, active or not; nullptr for what is no context.
ContextInfo* context_info(std::uint64_t context) noexcept;
inline bool is_active(std::uint64_t context) noexcept {
  const HandleSlot* slot = handles_of(HandleType::context).find(context);
  if (slot == nullptr) return false;
  const void* info = slot->object.load(std::memory_order_acquire);
  return info != nullptr && static_cast<const ContextInfo*>(info)->active.load();
}
// The primary context's handle, without activating it; 0 for a device that does not exist.
std::uint64_t primary_context(CUdevice device) noexcept;
// Device of the current context; 0 where there is none.
CUdevice current_device() noexcept;

}  // namespace phos::client
