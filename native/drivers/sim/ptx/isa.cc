// SPDX-License-Identifier: Apache-2.0
// The choice between the two builds of the handlers.
#include <atomic>

#include "execution.h"
#include "handlers/key.h"

namespace phos::sim::ptx {
namespace {

#ifdef PHOS_PTX_BASELINE_ONLY
constexpr bool has_v3() noexcept { return false; }
#else
bool has_v3() noexcept {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("bmi2") != 0 && __builtin_cpu_supports("f16c") != 0 &&
         __builtin_cpu_supports("lzcnt") != 0;
}
#endif

std::atomic<Isa>& chosen() noexcept {
  static std::atomic<Isa> isa{has_v3() ? Isa::v3 : Isa::baseline};
  return isa;
}

}  // namespace

Isa active_isa() noexcept { return chosen().load(std::memory_order_relaxed); }

bool force_isa(Isa isa) noexcept {
  if (isa == Isa::v3 && !has_v3()) {
    return false;
  }
  chosen().store(isa, std::memory_order_relaxed);
  return true;
}

Handler find_handler(const Key& key) {
#ifdef PHOS_PTX_BASELINE_ONLY
  return isa_baseline::find(key);
#else
  return active_isa() == Isa::v3 ? isa_v3::find(key) : isa_baseline::find(key);
#endif
}

}  // namespace phos::sim::ptx
