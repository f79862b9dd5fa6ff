// SPDX-License-Identifier: Apache-2.0
// Reads little-endian integers from a span; every access is checked against its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace phos::code_images {

using Bytes = std::span<const std::uint8_t>;

class SpanReader {
 public:
  explicit SpanReader(Bytes bytes) noexcept : bytes_(bytes) {}

  std::size_t size() const noexcept { return bytes_.size(); }

  // The integer or plain struct at `offset`, or nothing if it does not lie inside.
  template <class T>
  std::optional<T> at(std::uint64_t offset) const noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    if (!contains(offset, sizeof(T))) {
      return std::nullopt;
    }
    T value;
    // SAFETY: contains() has shown that offset + sizeof(T) does not pass the end.
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }

  std::optional<Bytes> slice(std::uint64_t offset, std::uint64_t length) const noexcept {
    if (!contains(offset, length)) {
      return std::nullopt;
    }
    return bytes_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
  }

  // The NUL-terminated string at `offset`; nothing if its NUL is missing.
  std::optional<std::string_view> text(std::uint64_t offset) const noexcept {
    if (offset >= bytes_.size()) {
      return std::nullopt;
    }
    const auto* start = reinterpret_cast<const char*>(bytes_.data()) + offset;
    const std::size_t room = bytes_.size() - static_cast<std::size_t>(offset);
    // SAFETY: memchr looks at `room` bytes, which is what is left of the span.
    const void* end = std::memchr(start, 0, room);
    if (end == nullptr) {
      return std::nullopt;
    }
    return std::string_view(start, static_cast<std::size_t>(static_cast<const char*>(end) - start));
  }

 private:
  bool contains(std::uint64_t offset, std::uint64_t length) const noexcept {
    return offset <= bytes_.size() && length <= bytes_.size() - offset;
  }

  Bytes bytes_;
};

}  // namespace phos::code_images
