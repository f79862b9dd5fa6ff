// SPDX-License-Identifier: Apache-2.0
#include "executor/device_source.h"

#include <algorithm>
#include <cstring>

#include "executor/failure.h"
#include "executor/fault.h"
#include "executor/file.h"

namespace phos::executor {

namespace {

// The parent's chunk has these very bytes, and everything that this image must tell of them.
bool is_unchanged(const ImageIndex* parent, std::uint64_t address, const Digest& change,
                  bool needs_content) noexcept {
  const ChunkEntry* old = parent == nullptr ? nullptr : parent->find(address);
  return old != nullptr && old->bytes == kChunkBytes && (old->flags & kChunkGlobal) == 0 &&
         change != Digest{} && old->change == change &&
         (!needs_content || (old->flags & (kChunkZero | kChunkContent)) != 0);
}

}  // namespace

Digest change_digest_of(const ChangeHash& hash) noexcept {
  static_assert(sizeof(Digest) == sizeof(ChangeHash));
  Digest digest{};
  std::memcpy(static_cast<void*>(&digest), hash.data(), sizeof(digest));
  return digest;
}

std::optional<std::uint64_t> seed_of_image(const std::string& directory) {
  try {
    const File file = File::open(directory + "/chunks", false);
    FileHeader header{};
    if (file.size() < sizeof(header)) return std::nullopt;
    file.read_at(&header, sizeof(header), 0);
    const bool known = std::memcmp(header.magic, kChunksMagic, sizeof(header.magic)) == 0 &&
                       header.version == kImageVersion;
    return known ? std::optional(header.seed) : std::nullopt;
  } catch (const Failure&) {
    // The writer reads the parent anyhow, and says what is wrong with it.
    return std::nullopt;
  }
}

DeviceSource::DeviceSource(const Snapshot& snapshot, MemoryPort& memory,
                           std::vector<Digest> changes, const ImageIndex* parent,
                           bool needs_content,
                           const std::function<void(std::uint64_t address)>& skipped)
    : memory_(memory), changes_(std::move(changes)) {
  std::size_t index = 0;
  for (const MemoryRange& range : snapshot.ranges) {
    for (std::uint64_t at = 0; at < range.bytes; at += kChunkBytes, ++index) {
      const Digest* change = changes_.empty() ? nullptr : &changes_[index];
      const bool unchanged =
          change != nullptr && is_unchanged(parent, range.address + at, *change, needs_content);
      const std::uint64_t bytes = std::min(kChunkBytes, range.bytes - at);
      if (unchanged && skipped) skipped(range.address + at);
      const bool joins = at != 0 && parts_.back().unchanged == unchanged &&
                         parts_.back().piece.bytes + bytes <= kLaneBytes;
      if (joins) {
        parts_.back().piece.bytes += bytes;
      } else {
        add(range.address + at, bytes, 0);
        parts_.back().piece.change = change;
        parts_.back().unchanged = unchanged;
      }
      total_ += bytes;
    }
  }
  for (const Region& variable : snapshot.variables) {
    total_ += variable.bytes;
    for (std::uint64_t at = 0; at < variable.bytes; at += kLaneBytes) {
      add(variable.address + at, std::min<std::uint64_t>(kLaneBytes, variable.bytes - at),
          kChunkGlobal);
    }
  }
}

void DeviceSource::add(std::uint64_t address, std::uint64_t bytes, std::uint32_t flags) {
  Part part;
  part.piece.address = address;
  part.piece.bytes = bytes;
  part.piece.flags = flags;
  parts_.push_back(part);
}

bool DeviceSource::next(std::uint32_t lane, Piece& piece) {
  const std::size_t index = next_.fetch_add(1);
  if (index >= parts_.size()) return false;
  const Part& part = parts_[index];
  piece = part.piece;
  if (fault_point("save.copy") != 0) {
    throw Failure(Code::device, "Copying device memory failed (injected fault).");
  }
  if (part.unchanged) return true;
  piece.data = memory_.buffer(lane, kLaneBytes + kPieceSlack);
  memory_.read(lane, piece.address, piece.data, piece.bytes);
  read_.fetch_add(piece.bytes);
  return true;
}

}  // namespace phos::executor
