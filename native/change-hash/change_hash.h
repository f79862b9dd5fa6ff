// SPDX-License-Identifier: Apache-2.0
// The change hash: 128 bits over a chunk, keyed, that tells whether a chunk's bytes are those of
// another moment. A GPU kernel (executor/change_hash_kernel.cc) and the CPU give the same value.
//
// A chunk is a row of 64-bit words w[i]. Each is mixed with a key of its place, and the mixed words
// are summed twice: plainly, and each times an odd number of its place. Sums have no order, so any
// number of threads may share the work; keys of places make two words that change places show.
//
//   x = mix(w[i] ^ (k0 + i*G0))       mix: a bijection of 64-bit words (below)
//   a += x;  b += x * ((k1 + i*G1) | 1)
//
// It is no cryptographic hash: whoever knows the key can make collisions. The key is random.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace phos {

struct ChangeKey {
  std::uint64_t k0 = 0;
  std::uint64_t k1 = 0;
};
// A key out of one random number, as an image chain hands it down.
ChangeKey change_key_of(std::uint64_t seed) noexcept;

using ChangeHash = std::array<std::uint64_t, 2>;

namespace change_hash {
// Odd numbers without a pattern: the golden ratio, and the multipliers of David Stafford's mixer
// 13 (published on his page "Better Bit Mixing"; any good ones would do).
inline constexpr std::uint64_t kG0 = 0x9E3779B97F4A7C15;
inline constexpr std::uint64_t kG1 = 0xD1B54A32D192ED03;
inline constexpr std::uint64_t kM0 = 0xBF58476D1CE4E5B9;
inline constexpr std::uint64_t kM1 = 0x94D049BB133111EB;
inline constexpr int kShift0 = 32;
inline constexpr int kShift1 = 29;
inline constexpr int kShift2 = 32;
// The kernel's name, and how it must be launched: one block of threads for each chunk.
inline constexpr char kKernel[] = "phos_change_hash";
inline constexpr std::uint32_t kThreads = 256;
}  // namespace change_hash

// Parameters of the kernel, as they lie in its parameter block.
struct ChangeHashParameters {
  std::uint64_t table;  // device address: `chunks` addresses of chunks, each a multiple of 16
  std::uint64_t out;    // device address: two sums for each chunk, zeroed before
  ChangeKey key;
  std::uint64_t words;  // in each chunk, a multiple of 2048
};

// The two sums of `bytes` bytes; a last word that is not whole is padded with zeros. Runs at about
// memory speed on one core.
ChangeHash change_hash_of(const void* data, std::size_t bytes, ChangeKey key) noexcept;

}  // namespace phos
