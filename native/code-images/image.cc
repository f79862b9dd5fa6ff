// SPDX-License-Identifier: Apache-2.0
#include "image.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

#include "cubin.h"
#include "limits.h"
#include "ptx_scan.h"

namespace phos::code_images {
namespace {

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return (value + unit - 1) / unit * unit;
}

// Measures one non-wrapper image of at most `limit` bytes; `kind` and the span come back.
Result<ImageExtent> measure_plain(const std::uint8_t* start, std::uint64_t limit) {
  ImageExtent extent;
  // SAFETY: `limit` is either the true size of the bytes, or (in process) an upper bound below
  // which only what the headers announce is read.
  const Bytes window(start, static_cast<std::size_t>(limit));
  std::uint32_t magic = 0;
  if (limit >= sizeof magic) {
    std::memcpy(&magic, start, sizeof magic);
  }
  if (magic == kFatbinMagic) {
    const auto bytes = fatbin_bytes(window);
    if (!bytes.ok()) {
      return bytes.error();
    }
    extent.kind = ImageKind::fatbin;
    extent.bytes = bytes.value();
  } else if (limit >= SELFMAG && std::memcmp(start, ELFMAG, SELFMAG) == 0) {
    const auto bytes = elf_bytes(window);
    if (!bytes.ok()) {
      return bytes.error();
    }
    extent.kind = ImageKind::elf;
    extent.bytes = bytes.value();
  } else {
    const std::size_t text_limit =
        std::min<std::size_t>(static_cast<std::size_t>(limit), kMaxPtxTextBytes);
    const std::size_t length = strnlen(reinterpret_cast<const char*>(start), text_limit);
    if (length == kMaxPtxTextBytes) {
      return ImageError::too_large;
    }
    if (!looks_like_ptx({reinterpret_cast<const char*>(start), length})) {
      return ImageError::unknown_format;
    }
    extent.kind = ImageKind::ptx;
    extent.bytes = length < limit ? length + 1 : length;
  }
  if (extent.bytes > limit) {
    return ImageError::truncated;
  }
  extent.parts.push_back(window.first(static_cast<std::size_t>(extent.bytes)));
  return extent;
}

Result<ImageExtent> measure_fatbin_pointer(const void* pointer) {
  if (pointer == nullptr) {
    return ImageError::null_image;
  }
  const auto* start = static_cast<const std::uint8_t*>(pointer);
  std::uint32_t magic = 0;
  std::memcpy(&magic, start, sizeof magic);
  if (magic != kFatbinMagic) {
    return ImageError::unknown_format;
  }
  return measure_plain(start, kMaxImageBytes + kFatbinHeaderBytes);
}

Result<ImageExtent> measure_wrapper(const std::uint8_t* start) {
  std::uint32_t version = 0;
  const void* fatbin = nullptr;
  const void* extra = nullptr;
  // SAFETY: the wrapper is 24 bytes in the caller's read-only data; its magic has been seen.
  std::memcpy(&version, start + 4, sizeof version);
  std::memcpy(&fatbin, start + 8, sizeof fatbin);
  std::memcpy(&extra, start + 16, sizeof extra);
  if (version != 1 && version != 2) {
    return ImageError::unsupported_version;
  }
  auto extent = measure_fatbin_pointer(fatbin);
  if (!extent.ok()) {
    return extent.error();
  }
  extent.value().kind = ImageKind::wrapper;
  if (version == 1 || extra == nullptr) {
    return extent;
  }
  const auto* list = static_cast<const std::uint8_t*>(extra);
  for (std::size_t i = 0;; ++i) {
    if (i == kMaxParts) {
      return ImageError::too_large;
    }
    const void* unit = nullptr;
    // SAFETY: nvcc ends this array with a null pointer; kMaxParts bounds a damaged one.
    std::memcpy(&unit, list + i * sizeof unit, sizeof unit);
    if (unit == nullptr) {
      return extent;
    }
    const auto part = measure_fatbin_pointer(unit);
    if (!part.ok()) {
      return part.error();
    }
    extent.value().parts.push_back(part.value().parts.front());
    extent.value().bytes += part.value().bytes;
  }
}

}  // namespace

Result<ImageExtent> image_extent(const void* image) {
  if (image == nullptr) {
    return ImageError::null_image;
  }
  const auto* start = static_cast<const std::uint8_t*>(image);
  // A text of fewer than four bytes is no image, and comparing byte by byte stops at its NUL.
  std::uint32_t magic = 0;
  for (std::size_t i = 0; i < sizeof magic; ++i) {
    magic |= std::uint32_t{start[i]} << (8 * i);
    if (start[i] == 0 && i < 3) {
      return ImageError::unknown_format;
    }
  }
  if (magic == kWrapperMagic) {
    return measure_wrapper(start);
  }
  return measure_plain(start, kMaxImageBytes + kFatbinHeaderBytes);
}

Result<ImageExtent> split_image(Bytes bytes) {
  if (bytes.empty()) {
    return ImageError::null_image;
  }
  auto extent = measure_plain(bytes.data(), bytes.size());
  if (!extent.ok() || extent.value().kind != ImageKind::fatbin) {
    return extent;
  }
  std::uint64_t offset = round_up(extent.value().bytes, kFlatAlign);
  while (offset < bytes.size()) {
    if (extent.value().parts.size() == kMaxParts) {
      return ImageError::too_large;
    }
    const Bytes rest = bytes.subspan(static_cast<std::size_t>(offset));
    const auto part = fatbin_bytes(rest);
    if (!part.ok()) {
      return part.error();
    }
    if (part.value() > rest.size()) {
      return ImageError::truncated;
    }
    extent.value().parts.push_back(rest.first(static_cast<std::size_t>(part.value())));
    extent.value().bytes += part.value();
    offset += round_up(part.value(), kFlatAlign);
  }
  return extent;
}

std::uint64_t flat_bytes(const ImageExtent& extent) noexcept {
  std::uint64_t total = 0;
  for (const Bytes part : extent.parts) {
    total = round_up(total, kFlatAlign) + part.size();
  }
  return total;
}

std::vector<std::uint8_t> flatten_image(const ImageExtent& extent) {
  std::vector<std::uint8_t> flat;
  flat.reserve(static_cast<std::size_t>(flat_bytes(extent)));
  for (const Bytes part : extent.parts) {
    flat.resize(static_cast<std::size_t>(round_up(flat.size(), kFlatAlign)), 0);
    flat.insert(flat.end(), part.begin(), part.end());
  }
  return flat;
}

Result<LoadableImage> LoadableImage::from_flat(Bytes flat) {
  const auto extent = split_image(flat);
  if (!extent.ok()) {
    return extent.error();
  }
  LoadableImage image;
  const auto& parts = extent.value().parts;
  if (parts.size() > 1) {
    image.wrapper_ = std::make_unique<Wrapper>();
    image.wrapper_->fatbin = parts.front().data();
    for (std::size_t i = 1; i < parts.size(); ++i) {
      image.extra_.push_back(parts[i].data());
    }
    image.extra_.push_back(nullptr);
    image.wrapper_->extra = image.extra_.data();
  } else if (extent.value().kind == ImageKind::ptx && parts.front().back() != 0) {
    image.copy_.assign(parts.front().begin(), parts.front().end());
    image.copy_.push_back(0);
    image.plain_ = image.copy_.data();
  } else {
    image.plain_ = parts.front().data();
  }
  return image;
}

const void* LoadableImage::data() const noexcept {
  return wrapper_ ? static_cast<const void*>(wrapper_.get()) : plain_;
}

}  // namespace phos::code_images
