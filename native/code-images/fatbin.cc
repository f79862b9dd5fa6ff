// SPDX-License-Identifier: Apache-2.0
#include "fatbin.h"

#include <algorithm>

#include "decompress.h"
#include "limits.h"

namespace phos::code_images {
namespace {

// Offsets inside an entry's header (see fatbin.h for where they were learned).
constexpr std::uint64_t kKindAt = 0;
constexpr std::uint64_t kHeaderBytesAt = 4;
constexpr std::uint64_t kPayloadBytesAt = 8;
constexpr std::uint64_t kCompressedBytesAt = 16;
constexpr std::uint64_t kMinorAt = 24;
constexpr std::uint64_t kMajorAt = 26;
constexpr std::uint64_t kSmAt = 28;
constexpr std::uint64_t kFlagsAt = 40;
constexpr std::uint64_t kPlainBytesAt = 56;

// Reads the entry whose header starts at `offset`; `next` becomes the offset of its successor.
ImageError read_entry(const SpanReader& reader, std::uint64_t offset, FatbinEntry& entry,
                      std::uint64_t& next) {
  const auto header = reader.slice(offset, kMinEntryHeaderBytes);
  if (!header) {
    return ImageError::truncated;
  }
  const SpanReader fields(*header);
  const std::uint64_t header_bytes = *fields.at<std::uint32_t>(kHeaderBytesAt);
  const std::uint64_t payload_bytes = *fields.at<std::uint64_t>(kPayloadBytesAt);
  const std::uint64_t compressed_bytes = *fields.at<std::uint32_t>(kCompressedBytesAt);
  const std::uint64_t flags = *fields.at<std::uint64_t>(kFlagsAt);
  if (header_bytes < kMinEntryHeaderBytes || payload_bytes > kMaxImageBytes) {
    return ImageError::truncated;
  }
  const auto payload = reader.slice(offset + header_bytes, payload_bytes);
  if (!payload) {
    return ImageError::truncated;
  }
  entry.kind = static_cast<EntryKind>(*fields.at<std::uint16_t>(kKindAt));
  entry.ptx_minor = *fields.at<std::uint16_t>(kMinorAt);
  entry.ptx_major = *fields.at<std::uint16_t>(kMajorAt);
  entry.sm = *fields.at<std::uint32_t>(kSmAt);
  entry.arch_specific = (flags & kEntryArchSpecific) != 0;
  entry.family_specific = (flags & kEntryFamilySpecific) != 0;
  entry.stored = *payload;
  entry.plain_bytes = payload_bytes;
  if ((flags & (kEntryLz4 | kEntryZstd)) != 0) {
    if (compressed_bytes == 0 || compressed_bytes > payload_bytes) {
      return ImageError::bad_compression;
    }
    entry.compression = (flags & kEntryZstd) != 0 ? Compression::zstd : Compression::lz4;
    entry.stored = payload->first(static_cast<std::size_t>(compressed_bytes));
    entry.plain_bytes = *fields.at<std::uint64_t>(kPlainBytesAt);
  }
  next = offset + header_bytes + payload_bytes;
  return ImageError::none;
}

}  // namespace

Result<std::uint64_t> fatbin_bytes(Bytes bytes) {
  if (bytes.empty()) {
    return ImageError::null_image;
  }
  const SpanReader reader(bytes);
  const auto magic = reader.at<std::uint32_t>(0);
  if (!magic) {
    return ImageError::truncated;
  }
  if (*magic != kFatbinMagic) {
    return ImageError::unknown_format;
  }
  const auto version = reader.at<std::uint16_t>(4);
  const auto header_bytes = reader.at<std::uint16_t>(6);
  const auto body_bytes = reader.at<std::uint64_t>(8);
  if (!version || !header_bytes || !body_bytes) {
    return ImageError::truncated;
  }
  if (*version != 1 || *header_bytes < kFatbinHeaderBytes) {
    return ImageError::unsupported_version;
  }
  if (*body_bytes > kMaxImageBytes) {
    return ImageError::too_large;
  }
  return std::uint64_t{*header_bytes} + *body_bytes;
}

Result<std::vector<FatbinEntry>> fatbin_entries(Bytes bytes) {
  const auto total = fatbin_bytes(bytes);
  if (!total.ok()) {
    return total.error();
  }
  const auto whole = SpanReader(bytes).slice(0, total.value());
  if (!whole) {
    return ImageError::truncated;
  }
  const SpanReader reader(*whole);
  std::vector<FatbinEntry> entries;
  std::uint64_t offset = *reader.at<std::uint16_t>(6);
  while (offset < reader.size()) {
    if (entries.size() == kMaxEntries) {
      return ImageError::too_large;
    }
    FatbinEntry entry;
    std::uint64_t next = 0;
    const ImageError error = read_entry(reader, offset, entry, next);
    if (error != ImageError::none) {
      return error;
    }
    entries.push_back(entry);
    offset = next;
  }
  return entries;
}

Result<std::vector<std::uint8_t>> plain_payload(const FatbinEntry& entry) {
  if (entry.plain_bytes > kMaxPlainBytes) {
    return ImageError::too_large;
  }
  const auto plain_bytes = static_cast<std::size_t>(entry.plain_bytes);
  switch (entry.compression) {
    case Compression::lz4:
      return decompress_lz4(entry.stored, plain_bytes);
    case Compression::zstd:
      return decompress_zstd(entry.stored, plain_bytes);
    case Compression::none:
      break;
  }
  return std::vector<std::uint8_t>(entry.stored.begin(), entry.stored.end());
}

}  // namespace phos::code_images
