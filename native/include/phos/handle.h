// SPDX-License-Identifier: Apache-2.0
// Handles that phos gives to applications.
//
// An application never sees a real driver handle: it gets a 64-bit integer in disguise, chosen
// by the client, stable across dump and restore, and never dereferenced. Layout, high to low:
//   bits 63..48  zero, so that a handle survives code that keeps 48 bits of a pointer
//   bits 47..40  0x7A, which tells a phos handle from a pointer of the application
//   bits 39..32  HandleType (native/gen/handle_types.h)
//   bits 31..20  generation, so that a stale handle is told from its successor
//   bits 19..0   index + 1 within the type (at most 2^20 - 1 live objects a type)
// Streams 0, CU_STREAM_LEGACY (1) and CU_STREAM_PER_THREAD (2) pass through unchanged. Per-thread
// default streams are real streams that the client creates on first use, one for each thread.
#pragma once

#include <cstdint>

namespace phos {

inline constexpr std::uint64_t kHandleMark = 0x7A;
inline constexpr std::uint32_t kMaxObjectsPerType = (1U << 20) - 1;

constexpr std::uint64_t make_handle(std::uint8_t type, std::uint32_t generation,
                                    std::uint32_t index) noexcept {
  return (kHandleMark << 40) | (std::uint64_t{type} << 32) |
         (std::uint64_t{generation & 0xFFFU} << 20) | ((std::uint64_t{index} + 1) & 0xFFFFFU);
}
constexpr bool is_handle(std::uint64_t value) noexcept {
  return (value >> 40) == kHandleMark && (value & 0xFFFFFU) != 0;
}
constexpr std::uint8_t handle_type(std::uint64_t value) noexcept {
  return static_cast<std::uint8_t>(value >> 32);
}
constexpr std::uint32_t handle_generation(std::uint64_t value) noexcept {
  return static_cast<std::uint32_t>(value >> 20) & 0xFFFU;
}
constexpr std::uint32_t handle_index(std::uint64_t value) noexcept {
  return (static_cast<std::uint32_t>(value) & 0xFFFFFU) - 1;
}

}  // namespace phos
