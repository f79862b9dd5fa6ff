// SPDX-License-Identifier: Apache-2.0
// Errors of this library, and the value-or-error type that its functions return. Nothing here
// throws on bad input: an image comes from an untrusted program.
#pragma once

#include <cstdint>
#include <utility>

namespace phos::code_images {

enum class ImageError : std::uint8_t {
  none,
  null_image,           // a null pointer or an empty span
  unknown_format,       // not a wrapper, fatbin, ELF or PTX text
  truncated,            // a size or offset leads out of the image
  unsupported_version,  // a wrapper or fatbin of a version nobody has described
  too_large,            // beyond the limits in limits.h
  bad_compression,      // zstd or LZ4 data that does not decode to the size it promises
  malformed_elf,        // an ELF file that is not a readable cubin
  malformed_ptx,        // PTX text whose declarations cannot be read
  no_ptx,               // the image holds no PTX that the device can run
};

// One sentence for people; never null.
const char* describe(ImageError error) noexcept;

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}     // NOLINT(google-explicit-constructor)
  Result(ImageError error) : error_(error) {}       // NOLINT(google-explicit-constructor)
  bool ok() const noexcept { return error_ == ImageError::none; }
  ImageError error() const noexcept { return error_; }
  T& value() noexcept { return value_; }
  const T& value() const noexcept { return value_; }

 private:
  T value_{};
  ImageError error_ = ImageError::none;
};

}  // namespace phos::code_images
