// SPDX-License-Identifier: Apache-2.0
#include <zstd.h>

#include <algorithm>
#include <memory>

#include "decompress.h"

namespace phos::code_images {
namespace {

struct FreeStream {
  void operator()(ZSTD_DCtx* stream) const noexcept { ZSTD_freeDCtx(stream); }
};

// Frames that ask for a larger window are refused: nvcc never needs it, and it would be allocated.
constexpr int kMaxWindowLog = 27;

}  // namespace

Result<std::vector<std::uint8_t>> decompress_zstd(Bytes frame, std::size_t plain_bytes) {
  const std::unique_ptr<ZSTD_DCtx, FreeStream> stream(ZSTD_createDCtx());
  if (!stream || ZSTD_isError(ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax,
                                                     kMaxWindowLog)) != 0) {
    return ImageError::bad_compression;
  }
  std::vector<std::uint8_t> plain;
  ZSTD_inBuffer in{frame.data(), frame.size(), 0};
  std::size_t step = std::min(plain_bytes, ZSTD_DStreamOutSize());
  std::size_t left = 1;
  std::size_t written = 0;
  while (left != 0) {
    if (plain.size() == written) {
      // One byte beyond the promised size lets a frame that is too long show itself.
      plain.resize(std::min(plain_bytes + 1, written + step));
      step *= 2;
      if (plain.size() == written) {
        return ImageError::bad_compression;
      }
    }
    ZSTD_outBuffer out{plain.data(), plain.size(), written};
    const std::size_t read_before = in.pos;
    left = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(left) != 0 || (out.pos == written && in.pos == read_before && left != 0)) {
      return ImageError::bad_compression;
    }
    written = out.pos;
  }
  plain.resize(written);
  if (written != plain_bytes) {
    return ImageError::bad_compression;
  }
  return plain;
}

}  // namespace phos::code_images
