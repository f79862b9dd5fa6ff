// SPDX-License-Identifier: Apache-2.0
// The fatbin container and its wrapper. The layout is documented by public projects (ZLUDA,
// n-eiling/cuda-fatbin-decompression) and was checked against what nvcc 13.0 emits.
//
// Wrapper (in the program, holds pointers): u32 magic 0x466243B1, u32 version, ptr fatbin, ptr
// extra. Version 2 (-rdc=true): extra is a NULL-terminated array of one fatbin a translation unit.
// Fatbin: u32 magic 0xBA55ED50, u16 version 1, u16 header bytes, u64 bytes that follow; entries.
#pragma once

#include <cstdint>
#include <vector>

#include "result.h"
#include "span_reader.h"

namespace phos::code_images {

inline constexpr std::uint32_t kWrapperMagic = 0x466243B1;
inline constexpr std::uint32_t kFatbinMagic = 0xBA55ED50;
inline constexpr std::size_t kWrapperBytes = 24;
inline constexpr std::size_t kFatbinHeaderBytes = 16;
inline constexpr std::size_t kMinEntryHeaderBytes = 64;

enum class EntryKind : std::uint16_t { ptx = 1, elf = 2, lto = 8 };
enum class Compression : std::uint8_t { none, lz4, zstd };

inline constexpr std::uint64_t kEntryLz4 = 0x2000;
inline constexpr std::uint64_t kEntryZstd = 0x8000;
inline constexpr std::uint64_t kEntryArchSpecific = 0x100000;    // target sm_XYa
inline constexpr std::uint64_t kEntryFamilySpecific = 0x200000;  // target sm_XYf

struct FatbinEntry {
  EntryKind kind{};  // may hold a value that is not named above: ignore those
  std::uint32_t sm = 0;  // for instance 86
  std::uint16_t ptx_major = 0;
  std::uint16_t ptx_minor = 0;
  bool arch_specific = false;
  bool family_specific = false;
  Compression compression = Compression::none;
  Bytes stored;  // payload as it lies in the image
  std::uint64_t plain_bytes = 0;  // after decompression; equals stored.size() when not compressed
};

// Size of the fatbin at the start of `bytes`, its header included.
Result<std::uint64_t> fatbin_bytes(Bytes bytes);

// Entries of the fatbin at the start of `bytes`, in file order. They point into `bytes`.
Result<std::vector<FatbinEntry>> fatbin_entries(Bytes bytes);

// Payload of an entry, decompressed if need be.
Result<std::vector<std::uint8_t>> plain_payload(const FatbinEntry& entry);

}  // namespace phos::code_images
