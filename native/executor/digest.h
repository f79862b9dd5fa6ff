// SPDX-License-Identifier: Apache-2.0
// XXH3-128 (https://xxhash.com, BSD-2): checksum of chunks and files, key of blobs.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>

namespace phos::executor {

struct Digest {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const Digest&) const = default;
};

// Canonical (big-endian) form, as the xxhsum tool prints it.
Digest digest_of(const void* data, std::size_t bytes) noexcept;
// The same with a seed: nobody who does not know it can make two contents that agree.
Digest digest_of(const void* data, std::size_t bytes, std::uint64_t seed) noexcept;
bool all_zero(const void* data, std::size_t bytes) noexcept;
std::string hex_of(const std::uint8_t* data, std::size_t bytes);
inline std::string hex_of(const Digest& digest) {
  return hex_of(digest.bytes.data(), digest.bytes.size());
}
// False unless `text` is exactly 2 * bytes hexadecimal digits.
bool parse_hex(const std::string& text, std::uint8_t* out, std::size_t bytes) noexcept;

}  // namespace phos::executor
