// SPDX-License-Identifier: Apache-2.0
// Waiting for and writing words of memory in stream order.
#include <atomic>

#include "drivers/sim/memory.h"
#include "drivers/sim/operations.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

bool is_wait(CUstreamBatchMemOpType type) noexcept {
  return type == CU_STREAM_MEM_OP_WAIT_VALUE_32 || type == CU_STREAM_MEM_OP_WAIT_VALUE_64;
}

// Acquire, so that what was written before the word is seen after it.
template <class T>
T load_word(std::byte* at) noexcept {
  // SAFETY: resolve() gave sizeof(T) bytes; the API refuses addresses that are not aligned.
  return std::atomic_ref<T>(*reinterpret_cast<T*>(at)).load(std::memory_order_acquire);
}

template <class T>
bool satisfies(T current, T wanted, unsigned flags) noexcept {
  using Signed = std::make_signed_t<T>;
  switch (flags & 3U) {
    case CU_STREAM_WAIT_VALUE_EQ:
      return current == wanted;
    case CU_STREAM_WAIT_VALUE_AND:
      return (current & wanted) != 0;
    case CU_STREAM_WAIT_VALUE_NOR:
      return static_cast<T>(~(current | wanted)) != 0;
    default:
      // Cyclic comparison: also true after the counter has wrapped around.
      return static_cast<Signed>(current - wanted) >= 0;
  }
}

// True also when the word is gone: the step then reports it.
bool is_satisfied(const CUstreamBatchMemOpParams& one) {
  const auto& wait = one.waitValue;
  const bool wide = one.operation == CU_STREAM_MEM_OP_WAIT_VALUE_64;
  std::byte* at = runtime().memory->space().resolve(wait.address, wide ? 8 : 4);
  if (at == nullptr) {
    return true;
  }
  return wide ? satisfies<std::uint64_t>(load_word<std::uint64_t>(at), wait.value64, wait.flags)
              : satisfies<std::uint32_t>(load_word<std::uint32_t>(at), wait.value, wait.flags);
}

}  // namespace

bool MemoryOperation::ready() {
  return next_ >= list_.size() || !is_wait(list_[next_].operation) || is_satisfied(list_[next_]);
}

Step MemoryOperation::step(Turn& /*turn*/) {
  for (; next_ < list_.size(); ++next_) {
    const CUstreamBatchMemOpParams& one = list_[next_];
    const bool wide = one.operation == CU_STREAM_MEM_OP_WAIT_VALUE_64 ||
                      one.operation == CU_STREAM_MEM_OP_WRITE_VALUE_64;
    const bool write = one.operation == CU_STREAM_MEM_OP_WRITE_VALUE_32 ||
                       one.operation == CU_STREAM_MEM_OP_WRITE_VALUE_64;
    if (!write && !is_wait(one.operation)) {
      continue;  // barriers and flushes: every operation here is one already
    }
    std::byte* at = runtime().memory->space().resolve(one.waitValue.address, wide ? 8 : 4);
    if (at == nullptr) {
      fault_ = {CUDA_ERROR_ILLEGAL_ADDRESS, "a stream memory operation on memory that is gone"};
      return Step::fault;
    }
    if (!write) {
      if (!is_satisfied(one)) {
        return Step::blocked;
      }
    } else if (wide) {
      // SAFETY: as in load_word().
      std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(at))
          .store(one.writeValue.value64, std::memory_order_release);
    } else {
      std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(at))
          .store(one.writeValue.value, std::memory_order_release);
    }
  }
  return Step::done;
}

}  // namespace phos::sim
