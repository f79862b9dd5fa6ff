// SPDX-License-Identifier: Apache-2.0
#include "change-hash/change_hash.h"

#include <cstring>

// The loop is compiled for several processors and chosen at load; sanitizers do not take part.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PHOS_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define PHOS_CLONES
#endif

namespace phos {

namespace {

using namespace change_hash;

// Independent sums, so that neither a vector unit nor a pipeline waits.
constexpr std::size_t kSums = 8;

std::uint64_t mix(std::uint64_t x) noexcept {
  x ^= x >> kShift0;
  x *= kM0;
  x ^= x >> kShift1;
  x *= kM1;
  return x ^ (x >> kShift2);
}

struct Sums {
  std::uint64_t a[kSums];
  std::uint64_t b[kSums];
};

// `words` is a multiple of kSums.
PHOS_CLONES __attribute__((optimize("O3"))) void add_words(const std::uint8_t* data,
                                                            std::size_t words, ChangeKey key,
                                                            Sums& sums) noexcept {
  std::uint64_t a[kSums] = {};
  std::uint64_t b[kSums] = {};
  std::uint64_t place0[kSums];
  std::uint64_t place1[kSums];
  for (std::size_t j = 0; j < kSums; ++j) {
    place0[j] = key.k0 + j * kG0;
    place1[j] = key.k1 + j * kG1;
  }
  for (std::size_t i = 0; i < words; i += kSums) {
    std::uint64_t w[kSums];
    std::memcpy(w, data + i * 8, sizeof(w));
    for (std::size_t j = 0; j < kSums; ++j) {
      std::uint64_t x = w[j] ^ place0[j];
      x ^= x >> kShift0;
      x *= kM0;
      x ^= x >> kShift1;
      x *= kM1;
      x ^= x >> kShift2;
      a[j] += x;
      b[j] += x * (place1[j] | 1);
      place0[j] += kSums * kG0;
      place1[j] += kSums * kG1;
    }
  }
  std::memcpy(sums.a, a, sizeof(a));
  std::memcpy(sums.b, b, sizeof(b));
}

}  // namespace

ChangeKey change_key_of(std::uint64_t seed) noexcept {
  return {mix(seed + kG0), mix(seed + 2 * kG0)};
}

ChangeHash change_hash_of(const void* data, std::size_t bytes, ChangeKey key) noexcept {
  const auto* at = static_cast<const std::uint8_t*>(data);
  const std::size_t whole = bytes / 8 / kSums * kSums;
  Sums sums{};
  add_words(at, whole, key, sums);
  ChangeHash hash{};
  for (std::size_t j = 0; j < kSums; ++j) {
    hash[0] += sums.a[j];
    hash[1] += sums.b[j];
  }
  for (std::size_t i = whole; i * 8 < bytes; ++i) {
    std::uint64_t w = 0;
    std::memcpy(&w, at + i * 8, bytes - i * 8 < 8 ? bytes - i * 8 : 8);
    const std::uint64_t x = mix(w ^ (key.k0 + i * kG0));
    hash[0] += x;
    hash[1] += x * ((key.k1 + i * kG1) | 1);
  }
  return hash;
}

}  // namespace phos
