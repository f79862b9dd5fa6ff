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

// ThreadSanitizer's own shadow begins at 0x8000000000, so both windows are smaller there.
constexpr std::uint64_t device_window_bytes() noexcept {
  return kThreadSanitizer ? 0x4000000000 : kDeviceWindowBytes;
}
constexpr std::uint64_t arena_window_bytes() noexcept {
  return kThreadSanitizer ? 0x1000000000 : kArenaWindowBytes;
}

}  // namespace phos::executor
