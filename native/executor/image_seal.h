// SPDX-License-Identifier: Apache-2.0
// Encryption at rest (AES-256-GCM) and SHA-256, by a libcrypto of our own that is linked in and
// reads no configuration.
//
// A folder's key is HKDF-SHA256(key of the user, salt = image_id); image_id is 128 random bits, so
// no two folders share one. Within a folder a nonce is the lane and the offset of an extent, and
// nothing is written twice at one offset; bodies of index files take lanes that no data file has.
// So a nonce is never used twice with a key.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "executor/image_format.h"

namespace phos::executor {

using ImageKey = std::array<std::uint8_t, 32>;
using Sha256 = std::array<std::uint8_t, 32>;

// Throws INTERNAL when libcrypto refuses, which it does only without memory.
Sha256 sha256_of(const void* data, std::size_t bytes);

// Which nonce a body has; above every lane.
inline constexpr std::uint32_t kSealObjects = 0x80000001;
inline constexpr std::uint32_t kSealBlobs = 0x80000002;
inline constexpr std::uint32_t kSealChunks = 0x80000003;

// What else a tag covers, as it is laid out here.
struct SealedAs {
  std::uint8_t image_id[16];
  std::uint64_t offset;
  std::uint32_t lane;
  std::uint32_t bytes;  // plain; 0 for bodies
  std::uint32_t flags;  // kChunkCompressed or 0; kFileSealed for bodies
  std::uint32_t pad;
};
static_assert(sizeof(SealedAs) == 40);

// Seals and opens what lies in one folder. Not for two threads at once; copies are cheap.
class Sealer {
 public:
  Sealer(const ImageKey& key, const std::uint8_t (&image_id)[16]);
  Sealer(const Sealer& other);
  ~Sealer();
  Sealer& operator=(const Sealer&) = delete;

  const std::array<std::uint8_t, 8>& key_check() const noexcept { return key_check_; }
  void seal(const SealedAs& as, std::uint8_t* data, std::size_t bytes, std::uint8_t (&tag)[16]);
  // False when the bytes, the tag or what it covers were altered; then `data` is garbage.
  bool open(const SealedAs& as, std::uint8_t* data, std::size_t bytes,
            const std::uint8_t (&tag)[16]);
  SealedAs as(std::uint32_t lane, std::uint64_t offset, std::uint32_t bytes,
              std::uint32_t flags) const noexcept;

 private:
  struct Context;
  std::array<std::uint8_t, 32> key_{};
  std::array<std::uint8_t, 8> key_check_{};
  std::uint8_t image_id_[16]{};
  std::unique_ptr<Context> context_;
};

}  // namespace phos::executor
