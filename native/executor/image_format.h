// SPDX-License-Identifier: Apache-2.0
// The binary files of an image's gpu-K folder, byte by byte in docs/image-format.md. All integers
// are little-endian.
//
// Every file opens with FileHeader. In `objects`, `blobs` and `chunks` the body follows at once
// and `checksum` covers it; in `data-L` the header fills a page of kPageBytes, the rest of the page
// is zero, and every chunk carries its own checksum in `chunks`. `image_id` is random and the same
// in all files of one folder, so that files of two images cannot be mixed.
//
//   objects   SnapshotFacts, allocations, objects, placements, variables (snapshot.h)
//   blobs     count times: digest, u64 bytes, the bytes
//   chunks    IndexHead; `sources` times: image_id, u32 lanes, u32 pad, u64 bytes, path;
//             `dead` times DeadExtent; count times ChunkEntry, ascending by address
//   data-L    extents at multiples of kPageBytes, each padded with zeros to kPageBytes; no
//             other bytes
//
// A chunk may lie in another image's folder (a parent, or one that held the same bytes): that
// folder is one of the sources. With a key every body and every extent is sealed (image_seal.h).
#pragma once

#include <cstdint>

#include "executor/digest.h"

namespace phos::executor {

inline constexpr std::uint32_t kImageVersion = 3;
inline constexpr std::uint32_t kPageBytes = 4096;
inline constexpr std::uint32_t kMaxLanes = 16;
inline constexpr std::uint32_t kMaxSources = 64;  // folders of other images that one may refer to

inline constexpr char kObjectsMagic[9] = "PHOSOBJS";
inline constexpr char kBlobsMagic[9] = "PHOSBLOB";
inline constexpr char kChunksMagic[9] = "PHOSCHNK";
inline constexpr char kDataMagic[9] = "PHOSDATA";

inline constexpr std::uint32_t kFileSealed = 1;  // the body, or every extent, is encrypted

struct FileHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t lane;   // data files: their number; chunks: how many data files there are
  std::uint64_t bytes;  // of the whole file
  std::uint64_t count;  // records, or extents
  Digest checksum;      // unseeded, of the body as it is stored; zero in data files
  std::uint8_t image_id[16];
  std::uint64_t seed;  // of the chunks' checksums: random, handed down from parent to child
  std::uint32_t flags;
  std::uint32_t pad;
  std::uint8_t key_check[8];  // tells a wrong key from a damaged file; zero when not sealed
  std::uint8_t tag[16];       // of a sealed body
};
static_assert(sizeof(FileHeader) == 104);

struct IndexHead {
  std::uint32_t sources;
  std::uint32_t dead;
  std::uint8_t reserved[24];
};
static_assert(sizeof(IndexHead) == 32);

// An extent whose chunk was written again later.
struct DeadExtent {
  std::uint64_t offset;
  std::uint32_t stored;
  std::uint32_t lane;
};
static_assert(sizeof(DeadExtent) == 16);

inline constexpr std::uint32_t kChunkZero = 1;        // all bytes are zero; nothing is stored
inline constexpr std::uint32_t kChunkGlobal = 2;      // a module's variable: placed by the driver
inline constexpr std::uint32_t kChunkCompressed = 4;  // the extent is one zstd frame
inline constexpr std::uint32_t kChunkContent = 8;     // `content` is there
inline constexpr std::uint32_t kChunkFlags = 15;

struct ChunkEntry {
  std::uint64_t address;
  std::uint64_t offset;  // in data-LANE of the source
  std::uint32_t bytes;   // at most kChunkBytes
  std::uint32_t stored;  // bytes of the extent without its padding
  std::uint32_t flags;
  std::uint16_t source;  // 0: this folder; n: the n-th of the sources, from 1
  std::uint16_t lane;
  Digest checksum;                   // of the plain bytes, seeded
  Digest change;                     // the engine's change hash; zero when it made none
  std::array<std::uint8_t, 32> content;  // SHA-256 of the plain bytes
  std::uint8_t tag[16];              // of a sealed extent
};
static_assert(sizeof(ChunkEntry) == 112);

constexpr std::uint64_t padded(std::uint64_t bytes) noexcept {
  return (bytes + kPageBytes - 1) & ~std::uint64_t{kPageBytes - 1};
}

}  // namespace phos::executor
