// SPDX-License-Identifier: Apache-2.0
// MD2 (RFC 1319) and HMAC over it (RFC 2104). Broken as cryptography; asked for by the CUDA
// runtime.
#pragma once

#include <cstddef>
#include <cstdint>

namespace phos::cudart_tables {

class Md2 {
 public:
  static constexpr std::size_t kDigestBytes = 16;
  static constexpr std::size_t kBlockBytes = 16;
  void update(const void* data, std::size_t bytes) noexcept;
  void finish(std::uint8_t (&digest)[kDigestBytes]) noexcept;

 private:
  void take_block() noexcept;
  std::uint8_t state_[48]{};
  std::uint8_t checksum_[16]{};
  std::uint8_t block_[kBlockBytes]{};
  std::size_t filled_ = 0;
};

class HmacMd2 {
 public:
  explicit HmacMd2(const std::uint8_t (&key)[Md2::kBlockBytes]) noexcept;
  void update(const void* data, std::size_t bytes) noexcept { inner_.update(data, bytes); }
  void finish(std::uint8_t (&digest)[Md2::kDigestBytes]) noexcept;

 private:
  Md2 inner_;
  Md2 outer_;
};

}  // namespace phos::cudart_tables
