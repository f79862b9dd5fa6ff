// SPDX-License-Identifier: Apache-2.0
// The windows of this build: ThreadSanitizer leaves other addresses to the application.
#pragma once

#include "phos/address_window.h"

namespace phos::executor {

#ifdef __SANITIZE_THREAD__
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

constexpr std::uint64_t device_window_base() noexcept {
  return kThreadSanitizer ? kDeviceWindowBaseTsan : kDeviceWindowBase;
}
constexpr std::uint64_t arena_window_base() noexcept {
  return kThreadSanitizer ? kArenaWindowBaseTsan : kArenaWindowBase;
}

}  // namespace phos::executor
