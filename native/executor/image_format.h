// SPDX-License-Identifier: Apache-2.0
// The binary files of an image's gpu-K folder. All integers are little-endian.
//
// Every file opens with FileHeader. In `objects`, `blobs` and `chunks` the body follows at once
// and `checksum` covers it; in `data-L` the header fills a page of kPageBytes, the rest of the page
// is zero, and every chunk carries its own checksum in `chunks`. `image_id` is random and the same
// in all files of one folder, so that files of two images cannot be mixed.
//
//   objects   SnapshotFacts, allocations, objects (snapshot.h)
//   blobs     count times: digest, u64 bytes, the bytes
//   chunks    count times ChunkEntry, ascending by address
//   data-L    extents at multiples of kPageBytes, each padded with zeros to kPageBytes; no
//             other bytes
#pragma once

#include <cstdint>

#include "executor/digest.h"

namespace phos::executor {

inline constexpr std::uint32_t kImageVersion = 1;
inline constexpr std::uint32_t kPageBytes = 4096;
inline constexpr std::uint32_t kMaxLanes = 16;

inline constexpr char kObjectsMagic[9] = "PHOSOBJS";
inline constexpr char kBlobsMagic[9] = "PHOSBLOB";
inline constexpr char kChunksMagic[9] = "PHOSCHNK";
inline constexpr char kDataMagic[9] = "PHOSDATA";

struct FileHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t lane;   // data files: their number; chunks: how many data files there are
  std::uint64_t bytes;  // of the whole file
  std::uint64_t count;  // records, or chunks
  Digest checksum;
  std::uint8_t image_id[16];
};
static_assert(sizeof(FileHeader) == 64);

inline constexpr std::uint32_t kChunkZero = 1;    // all bytes are zero; nothing is stored
inline constexpr std::uint32_t kChunkGlobal = 2;  // a module's variable: placed by the driver

struct ChunkEntry {
  std::uint64_t address;
  std::uint32_t bytes;  // at most kChunkBytes
  std::uint32_t flags;
  std::uint32_t lane;
  std::uint32_t pad;
  std::uint64_t offset;  // in data-LANE
  Digest checksum;       // of the bytes; of nothing for a zero chunk
};
static_assert(sizeof(ChunkEntry) == 48);

constexpr std::uint64_t padded(std::uint64_t bytes) noexcept {
  return (bytes + kPageBytes - 1) & ~std::uint64_t{kPageBytes - 1};
}

}  // namespace phos::executor
