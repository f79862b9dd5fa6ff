// SPDX-License-Identifier: Apache-2.0
// What a fuzz target is: one function that takes any bytes and may only return. libFuzzer calls it
// (preset fuzz), or standalone.cc where the compiler has no libFuzzer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace phos::fuzz {

// A promise that did not hold: the input that broke it is kept like one that crashed.
inline void require(bool holds, const char* what) noexcept {
  if (holds) return;
  std::fprintf(stderr, "fuzz: broken promise: %s\n", what);
  std::abort();
}

// Takes an input apart. What is missing at its end reads as zero.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) noexcept : rest_(data, size) {}

  bool empty() const noexcept { return rest_.empty(); }
  std::size_t size() const noexcept { return rest_.size(); }
  std::span<const std::uint8_t> bytes(std::size_t count) noexcept {
    const auto taken = rest_.first(count < rest_.size() ? count : rest_.size());
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::span<const std::uint8_t> rest() noexcept { return bytes(rest_.size()); }
  template <class T>
  T get() noexcept {
    T value{};
    const auto taken = bytes(sizeof(T));
    if (!taken.empty()) std::memcpy(&value, taken.data(), taken.size());
    return value;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

}  // namespace phos::fuzz
