// SPDX-License-Identifier: Apache-2.0
// Written from the published description of the LZ4 block format (lz4_Block_format.md).
#include "decompress.h"

namespace phos::code_images {
namespace {

constexpr std::size_t kMinMatch = 4;
constexpr std::size_t kExtended = 15;

class BlockDecoder {
 public:
  BlockDecoder(Bytes in, std::size_t limit) : in_(in), limit_(limit) {}

  ImageError run() {
    while (position_ < in_.size()) {
      const std::uint8_t token = in_[position_++];
      std::size_t literals = token >> 4;
      if (!extend(literals) || literals > in_.size() - position_ ||
          literals > limit_ - out_.size()) {
        return ImageError::bad_compression;
      }
      const auto run = in_.subspan(position_, literals);
      out_.insert(out_.end(), run.begin(), run.end());
      position_ += literals;
      if (position_ == in_.size()) {
        // The last sequence holds literals only.
        return ImageError::none;
      }
      if (!copy_match(token & 0xFU)) {
        return ImageError::bad_compression;
      }
    }
    return ImageError::bad_compression;
  }

  std::vector<std::uint8_t> take() { return std::move(out_); }

 private:
  // Adds the bytes that follow a length of 15.
  bool extend(std::size_t& length) {
    if (length != kExtended) {
      return true;
    }
    std::uint8_t more = 0;
    do {
      if (position_ >= in_.size()) {
        return false;
      }
      more = in_[position_++];
      length += more;
    } while (more == 255);
    return true;
  }

  bool copy_match(std::size_t length) {
    if (in_.size() - position_ < 2) {
      return false;
    }
    const std::size_t distance =
        in_[position_] | static_cast<std::size_t>(in_[position_ + 1]) << 8;
    position_ += 2;
    if (!extend(length)) {
      return false;
    }
    length += kMinMatch;
    if (distance == 0 || distance > out_.size() || length > limit_ - out_.size()) {
      return false;
    }
    // A match may overlap its own output, so it is copied byte by byte.
    std::size_t from = out_.size() - distance;
    for (std::size_t i = 0; i < length; ++i) {
      out_.push_back(out_[from + i]);
    }
    return true;
  }

  Bytes in_;
  std::size_t limit_;
  std::size_t position_ = 0;
  std::vector<std::uint8_t> out_;
};

}  // namespace

Result<std::vector<std::uint8_t>> decompress_lz4(Bytes block, std::size_t plain_bytes) {
  BlockDecoder decoder(block, plain_bytes);
  const ImageError error = decoder.run();
  if (error != ImageError::none) {
    return error;
  }
  auto plain = decoder.take();
  if (plain.size() != plain_bytes) {
    return ImageError::bad_compression;
  }
  return plain;
}

}  // namespace phos::code_images
