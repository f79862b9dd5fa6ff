// SPDX-License-Identifier: Apache-2.0
#include "executor/spare_memory.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace phos::executor {

namespace {

// A step of a few milliseconds where the system makes the pages only now.
constexpr std::uint64_t kTouchBytes = std::uint64_t{1} << 20;
// What has not been touched by then is touched by the copy itself.
constexpr auto kTouchPatience = std::chrono::seconds(10);

}  // namespace

void SpareMemory::touch() {
  CUstream stream = nullptr;
  busy_.store(true);
  if (!wanted_.load() && driver_.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS) {
    CUresult result = CUDA_SUCCESS;
    const auto deadline = std::chrono::steady_clock::now() + kTouchPatience;
    const auto goes_on = [this, deadline] {
      return !wanted_.load() && std::chrono::steady_clock::now() < deadline;
    };
    for (std::uint64_t at = 0; at < memory_->bytes() && result == CUDA_SUCCESS && goes_on();
         at += kTouchBytes) {
      result = driver_.cuMemsetD8Async(memory_->address() + at, 0,
                                       std::min(kTouchBytes, memory_->bytes() - at), stream);
      if (result == CUDA_SUCCESS) result = driver_.cuStreamSynchronize(stream);
    }
    driver_.cuStreamDestroy(stream);
  }
  busy_.store(false);
}

std::unique_ptr<ShadowMemory> SpareMemory::release() {
  wanted_.store(true);
  while (busy_.load()) std::this_thread::sleep_for(std::chrono::microseconds(50));
  return std::move(memory_);
}

}  // namespace phos::executor
