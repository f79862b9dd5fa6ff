// SPDX-License-Identifier: Apache-2.0
// What a pointer given to cuModuleLoadData or cuLibraryLoadData points at, how long it is, and how
// it travels to another process.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fatbin.h"
#include "result.h"
#include "span_reader.h"

namespace phos::code_images {

enum class ImageKind : std::uint8_t { wrapper, fatbin, elf, ptx };

// The parts of an image in memory. A wrapper of version 2 (-rdc=true) has several: the linked
// fatbin first, then one fatbin a translation unit. Everything else has exactly one.
struct ImageExtent {
  ImageKind kind{};
  std::vector<Bytes> parts;
  std::uint64_t bytes = 0;  // sum of the parts; for PTX text including its NUL
};

// Sizes the image at `image`, a pointer inside this process.
// The caller vouches that `image` is readable as far as its own headers say (CUDA asks the same).
Result<ImageExtent> image_extent(const void* image);

// The same for an image that arrived as bytes: never a wrapper (its pointers would mean nothing);
// one or several fatbins one after the other, an ELF file, or PTX text with or without its NUL.
Result<ImageExtent> split_image(Bytes bytes);

// Parts one after the other: the form in which an image travels. split_image() reads it back.
// Each part but the last is padded with zeros to kFlatAlign.
inline constexpr std::size_t kFlatAlign = 8;
std::vector<std::uint8_t> flatten_image(const ImageExtent& extent);
std::uint64_t flat_bytes(const ImageExtent& extent) noexcept;

// Turns a flat image back into what a driver can be given: the bytes themselves when there is one
// part, else a wrapper of version 2 over the parts. Keeps pointers into `flat`, which must outlive
// it and the module that is loaded from it.
class LoadableImage {
 public:
  static Result<LoadableImage> from_flat(Bytes flat);
  const void* data() const noexcept;

  LoadableImage() = default;

 private:
  struct Wrapper {
    std::uint32_t magic = kWrapperMagic;
    std::uint32_t version = 2;
    const void* fatbin = nullptr;
    const void* extra = nullptr;
  };
  static_assert(sizeof(Wrapper) == kWrapperBytes);

  const void* plain_ = nullptr;
  std::unique_ptr<Wrapper> wrapper_;
  std::vector<const void*> extra_;
  std::vector<std::uint8_t> copy_;  // PTX text that had to be given a NUL
};

}  // namespace phos::code_images
