// SPDX-License-Identifier: Apache-2.0
#include "executor/range_map.h"

#include <iterator>

namespace phos::executor {

std::optional<std::uint64_t> RangeMap::take(std::uint64_t bytes, std::uint64_t alignment) {
  if (bytes == 0) return std::nullopt;
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const std::uint64_t start = (it->first + alignment - 1) & ~(alignment - 1);
    const std::uint64_t end = it->first + it->second;
    if (start < it->first || start > end || end - start < bytes) continue;
    carve(it, start, bytes);
    return start;
  }
  return std::nullopt;
}

bool RangeMap::take_at(std::uint64_t address, std::uint64_t bytes) {
  if (bytes == 0) return false;
  auto it = free_.upper_bound(address);
  if (it == free_.begin()) return false;
  --it;
  const std::uint64_t end = it->first + it->second;
  if (address >= end || end - address < bytes) return false;
  carve(it, address, bytes);
  return true;
}

void RangeMap::carve(Iterator from, std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t start = from->first;
  const std::uint64_t end = start + from->second;
  free_.erase(from);
  if (address > start) free_.emplace(start, address - start);
  if (address + bytes < end) free_.emplace(address + bytes, end - address - bytes);
}

void RangeMap::give(std::uint64_t address, std::uint64_t bytes) {
  auto next = free_.lower_bound(address);
  std::uint64_t start = address;
  std::uint64_t end = address + bytes;
  if (next != free_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == start) {
      start = before->first;
      free_.erase(before);
    }
  }
  if (next != free_.end() && next->first == end) {
    end += next->second;
    free_.erase(next);
  }
  free_.emplace(start, end - start);
}

std::uint64_t RangeMap::free_bytes() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& [address, bytes] : free_) sum += bytes;
  return sum;
}

}  // namespace phos::executor
