// SPDX-License-Identifier: Apache-2.0
#include "executor/digest.h"

#include <cstring>

#define XXH_INLINE_ALL
// The library's header is not written for our warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <xxhash.h>
#pragma GCC diagnostic pop

namespace phos::executor {

Digest digest_of(const void* data, std::size_t bytes) noexcept {
  return digest_of(data, bytes, 0);
}

Digest digest_of(const void* data, std::size_t bytes, std::uint64_t seed) noexcept {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(data, bytes, seed));
  Digest digest;
  static_assert(sizeof(canonical.digest) == sizeof(digest.bytes));
  std::memcpy(digest.bytes.data(), canonical.digest, digest.bytes.size());
  return digest;
}

bool all_zero(const void* data, std::size_t bytes) noexcept {
  const auto* at = static_cast<const std::uint8_t*>(data);
  if (bytes == 0) return true;
  // The first byte is zero and every byte equals its neighbour: memcmp runs at memory speed.
  return at[0] == 0 && std::memcmp(at, at + 1, bytes - 1) == 0;
}

std::string hex_of(const std::uint8_t* data, std::size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes * 2);
  for (std::size_t i = 0; i < bytes; ++i) {
    text.push_back(kDigits[data[i] >> 4]);
    text.push_back(kDigits[data[i] & 15]);
  }
  return text;
}

bool parse_hex(const std::string& text, std::uint8_t* out, std::size_t bytes) noexcept {
  if (text.size() != bytes * 2) return false;
  const auto value = [](char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  for (std::size_t i = 0; i < bytes; ++i) {
    const int high = value(text[2 * i]);
    const int low = value(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

}  // namespace phos::executor
