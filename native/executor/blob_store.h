// SPDX-License-Identifier: Apache-2.0
// Code images of the client: arriving in pieces, then kept by hash for as long as something that
// was loaded from them must be made again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "executor/digest.h"

namespace phos::executor {

using Blob = std::shared_ptr<const std::vector<std::uint8_t>>;

inline constexpr std::uint64_t kMaxImageBytes = std::uint64_t{4} << 30;

// With the session's lock held.
class BlobStore {
 public:
  // One piece of image `number`, in order. False when it does not continue what came before.
  bool piece(std::uint64_t number, std::uint64_t total, std::uint64_t offset, const void* data,
             std::uint64_t bytes);
  // The whole image `number`, taken out of those that are arriving. Null when it is not complete.
  Blob take(std::uint64_t number);
  // Puts an image where take() finds it: restore, before the load command runs again.
  void put(std::uint64_t number, Blob image);

  // Keeps an image under its hash, the same bytes once.
  Digest keep(const Blob& image);
  Blob find(const Digest& digest) const;
  const std::map<Digest, Blob>& kept() const noexcept { return kept_; }
  void clear();

 private:
  struct Arriving {
    std::vector<std::uint8_t> bytes;
    std::uint64_t total = 0;
  };
  std::unordered_map<std::uint64_t, Arriving> arriving_;
  std::unordered_map<std::uint64_t, Blob> complete_;
  std::map<Digest, Blob> kept_;
  std::uint64_t arriving_bytes_ = 0;
};

}  // namespace phos::executor
