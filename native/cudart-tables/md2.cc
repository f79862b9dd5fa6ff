// SPDX-License-Identifier: Apache-2.0
#include "cudart-tables/md2.h"

#include <cstring>

namespace phos::cudart_tables {

namespace {

// The permutation of RFC 1319, built from digits of pi.
constexpr std::uint8_t kPi[256] = {
     41,  46,  67, 201, 162, 216, 124,   1,  61,  54,  84, 161, 236, 240,   6,  19,
     98, 167,   5, 243, 192, 199, 115, 140, 152, 147,  43, 217, 188,  76, 130, 202,
     30, 155,  87,  60, 253, 212, 224,  22, 103,  66, 111,  24, 138,  23, 229,  18,
    190,  78, 196, 214, 218, 158, 222,  73, 160, 251, 245, 142, 187,  47, 238, 122,
    169, 104, 121, 145,  21, 178,   7,  63, 148, 194,  16, 137,  11,  34,  95,  33,
    128, 127,  93, 154,  90, 144,  50,  39,  53,  62, 204, 231, 191, 247, 151,   3,
    255,  25,  48, 179,  72, 165, 181, 209, 215,  94, 146,  42, 172,  86, 170, 198,
     79, 184,  56, 210, 150, 164, 125, 182, 118, 252, 107, 226, 156, 116,   4, 241,
     69, 157, 112,  89, 100, 113, 135,  32, 134,  91, 207, 101, 230,  45, 168,   2,
     27,  96,  37, 173, 174, 176, 185, 246,  28,  70,  97, 105,  52,  64, 126,  15,
     85,  71, 163,  35, 221,  81, 175,  58, 195,  92, 249, 206, 186, 197, 234,  38,
     44,  83,  13, 110, 133,  40, 132,   9, 211, 223, 205, 244,  65, 129,  77,  82,
    106, 220,  55, 200, 108, 193, 171, 250,  36, 225, 123,   8,  12, 189, 177,  74,
    120, 136, 149, 139, 227,  99, 232, 109, 233, 203, 213, 254,  59,   0,  29,  57,
    242, 239, 183,  14, 102,  88, 208, 228, 166, 119, 114, 248, 235, 117,  75,  10,
     49,  68,  80, 180, 143, 237,  31,  26, 219, 153, 141,  51, 159,  17, 131,  20};

}  // namespace

void Md2::take_block() noexcept {
  std::uint8_t last = checksum_[15];
  for (std::size_t i = 0; i < kBlockBytes; ++i) {
    state_[16 + i] = block_[i];
    state_[32 + i] = static_cast<std::uint8_t>(block_[i] ^ state_[i]);
    checksum_[i] = static_cast<std::uint8_t>(checksum_[i] ^ kPi[block_[i] ^ last]);
    last = checksum_[i];
  }
  std::uint8_t carry = 0;
  for (std::uint32_t round = 0; round < 18; ++round) {
    for (std::uint8_t& byte : state_) {
      byte = static_cast<std::uint8_t>(byte ^ kPi[carry]);
      carry = byte;
    }
    carry = static_cast<std::uint8_t>(carry + round);
  }
  filled_ = 0;
}

void Md2::update(const void* data, std::size_t bytes) noexcept {
  const auto* from = static_cast<const std::uint8_t*>(data);
  for (std::size_t i = 0; i < bytes; ++i) {
    block_[filled_++] = from[i];
    if (filled_ == kBlockBytes) take_block();
  }
}

void Md2::finish(std::uint8_t (&digest)[kDigestBytes]) noexcept {
  const auto padding = static_cast<std::uint8_t>(kBlockBytes - filled_);
  for (std::uint8_t i = 0; i < padding; ++i) update(&padding, 1);
  std::uint8_t checksum[16];
  std::memcpy(checksum, checksum_, sizeof(checksum));
  update(checksum, sizeof(checksum));
  std::memcpy(digest, state_, kDigestBytes);
}

HmacMd2::HmacMd2(const std::uint8_t (&key)[Md2::kBlockBytes]) noexcept {
  std::uint8_t inner[Md2::kBlockBytes];
  std::uint8_t outer[Md2::kBlockBytes];
  for (std::size_t i = 0; i < Md2::kBlockBytes; ++i) {
    inner[i] = static_cast<std::uint8_t>(key[i] ^ 0x36);
    outer[i] = static_cast<std::uint8_t>(key[i] ^ 0x5C);
  }
  inner_.update(inner, sizeof(inner));
  outer_.update(outer, sizeof(outer));
}

void HmacMd2::finish(std::uint8_t (&digest)[Md2::kDigestBytes]) noexcept {
  std::uint8_t inner[Md2::kDigestBytes];
  inner_.finish(inner);
  outer_.update(inner, sizeof(inner));
  outer_.finish(digest);
}

}  // namespace phos::cudart_tables
