// SPDX-License-Identifier: Apache-2.0
// A cut's memory as the image writer takes it: chunks whose change hash is the parent's are handed
// over without their bytes, which then never leave the device.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "executor/change_hasher.h"
#include "executor/image.h"

namespace phos::executor {

// The change hash as an index keeps it. Zero stands for none there.
Digest change_digest_of(const ChangeHash& hash) noexcept;

// What the folder's chunks are hashed with, of an image that another one builds on; nothing when
// the header cannot be read. The rest of the image is not looked at.
std::optional<std::uint64_t> seed_of_image(const std::string& directory);

class DeviceSource : public ChunkSource {
 public:

  // `changes` has one for each chunk of the snapshot's ranges, in their order, or is empty. A chunk
  // of which `parent` (may be null) has the same at the same place is not read; `skipped` is called
  // for each of them, before anything is read.
  DeviceSource(const Snapshot& snapshot, MemoryPort& memory, std::vector<Digest> changes,
               const ImageIndex* parent, bool needs_content,
               const std::function<void(std::uint64_t address)>& skipped);
  std::uint64_t total() const noexcept { return total_; }
  // Bytes that were read from the device so far.
  std::uint64_t read_bytes() const noexcept { return read_.load(); }

  bool next(std::uint32_t lane, Piece& piece) override;
  void release(std::uint32_t, const Piece&) override {}

 private:
  struct Part {
    Piece piece;
    bool unchanged = false;
  };
  void add(std::uint64_t address, std::uint64_t bytes, std::uint32_t flags);

  MemoryPort& memory_;
  const std::vector<Digest> changes_;
  std::vector<Part> parts_;
  std::uint64_t total_ = 0;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::uint64_t> read_{0};
};

}  // namespace phos::executor
