// SPDX-License-Identifier: Apache-2.0
// The two compressions that fatbins use. Output memory grows with what was really decoded, so that
// a header which promises a gigabyte costs nothing by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "result.h"
#include "span_reader.h"

namespace phos::code_images {

// A raw LZ4 block (lz4 block format, no frame). Must decode to exactly `plain_bytes`.
Result<std::vector<std::uint8_t>> decompress_lz4(Bytes block, std::size_t plain_bytes);

// One zstd frame. Must decode to exactly `plain_bytes`.
Result<std::vector<std::uint8_t>> decompress_zstd(Bytes frame, std::size_t plain_bytes);

}  // namespace phos::code_images
