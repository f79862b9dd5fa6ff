// SPDX-License-Identifier: Apache-2.0
// Free address ranges of a window, kept sorted and merged. Pure: it maps nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace phos::executor {

class RangeMap {
 public:
  RangeMap() = default;
  RangeMap(std::uint64_t base, std::uint64_t bytes) { free_.emplace(base, bytes); }

  // Lowest address with `bytes` free at a multiple of `alignment` (a power of two).
  std::optional<std::uint64_t> take(std::uint64_t bytes, std::uint64_t alignment);
  // Exactly [address, address + bytes); false, changing nothing, when part of it is taken.
  bool take_at(std::uint64_t address, std::uint64_t bytes);
  // Gives a taken range back. The caller vouches that it was taken.
  void give(std::uint64_t address, std::uint64_t bytes);

  std::uint64_t free_bytes() const noexcept;
  std::size_t fragments() const noexcept { return free_.size(); }

 private:
  using Iterator = std::map<std::uint64_t, std::uint64_t>::iterator;
  void carve(Iterator from, std::uint64_t address, std::uint64_t bytes);

  std::map<std::uint64_t, std::uint64_t> free_;  // address -> bytes
};

}  // namespace phos::executor
