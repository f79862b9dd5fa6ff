// SPDX-License-Identifier: Apache-2.0
// Little-endian encoding of the image's binary files. The reader checks every size against what
// is there and names file and offset when it is wrong.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "executor/failure.h"

namespace phos::executor {

static_assert(std::endian::native == std::endian::little, "the image format is little-endian");

class ByteWriter {
 public:
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void put(const T& value) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&value);
    data_.insert(data_.end(), bytes, bytes + sizeof(T));
  }
  void bytes(std::span<const std::uint8_t> value) {
    put(static_cast<std::uint64_t>(value.size()));
    data_.insert(data_.end(), value.begin(), value.end());
  }
  void text(std::string_view value) {
    bytes({reinterpret_cast<const std::uint8_t*>(value.data()), value.size()});
  }
  const std::vector<std::uint8_t>& data() const noexcept { return data_; }
  std::vector<std::uint8_t> take() noexcept { return std::move(data_); }

 private:
  std::vector<std::uint8_t> data_;
};

class ByteReader {
 public:
  // `base` is the offset of `data` in `file`, for messages.
  ByteReader(std::span<const std::uint8_t> data, std::string file, std::uint64_t base)
      : data_(data), file_(std::move(file)), base_(base) {}

  template <class T>
    requires std::is_trivially_copyable_v<T>
  T get() {
    need(sizeof(T));
    T value;
    // SAFETY: need() checked that sizeof(T) bytes are there; memcpy has no alignment demands.
    std::memcpy(&value, data_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  std::span<const std::uint8_t> bytes() {
    const auto size = get<std::uint64_t>();
    need(size);
    const auto part = data_.subspan(at_, static_cast<std::size_t>(size));
    at_ += static_cast<std::size_t>(size);
    return part;
  }
  std::string text() {
    const auto part = bytes();
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  // A count of records that each take at least `least` bytes; more than could be there is refused.
  std::uint64_t count(std::size_t least) {
    const auto value = get<std::uint64_t>();
    if (value > (data_.size() - at_) / least) invalid("more records than the file can hold");
    return value;
  }
  bool at_end() const noexcept { return at_ == data_.size(); }
  void expect_end() const {
    if (!at_end()) invalid("unexpected data after the last record");
  }
  [[noreturn]] void invalid(const std::string& what) const {
    throw_invalid(file_, base_ + at_, what);
  }

 private:
  void need(std::uint64_t bytes) const {
    if (bytes > data_.size() - at_) invalid("a record is cut short");
  }

  std::span<const std::uint8_t> data_;
  std::string file_;
  std::uint64_t base_;
  std::size_t at_ = 0;
};

}  // namespace phos::executor
