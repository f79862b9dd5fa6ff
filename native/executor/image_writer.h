// SPDX-License-Identifier: Apache-2.0
// What the writer's two halves share: the lanes (image_write.cc), and what comes before and after
// them (image_finish.cc).
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "executor/failure.h"
#include "executor/file.h"
#include "executor/image.h"

namespace phos::executor {

struct WrittenChunk {
  ChunkEntry entry;
  std::uint64_t sequence;  // of its piece: the higher one counts
};

// One lane: its data file, and the chunks that it has dealt with.
struct Lane {
  File file;
  std::uint64_t end = kPageBytes;
  std::vector<WrittenChunk> chunks;
  std::uint64_t parent_chunks = 0;
  std::uint64_t shared_chunks = 0;
};

struct WriterJob {
  std::uint64_t total;
  const Progress& progress;
  std::atomic<std::uint64_t> done{0};
  std::atomic<bool> failed{false};
};

// Bytes that lie in a folder which this image may refer to.
struct KnownContent {
  ChunkEntry entry;
  std::uint16_t source;
};

struct WriterState {
  std::string directory;
  WriteOptions options;
  std::uint8_t image_id[16]{};
  std::uint64_t seed = 0;
  std::optional<Sealer> sealer;
  std::optional<ImageIndex> parent;
  std::vector<ImageSource> sources;            // candidates; entries count them from 1
  std::vector<std::uint16_t> parent_sources;   // source of the parent's index to ours
  std::vector<Lane> lanes;
  std::atomic<std::uint64_t> sequence{0};
  std::chrono::steady_clock::time_point started;
  std::mutex mutex;  // guards `known`
  std::map<Sha256, KnownContent> known;

  bool content() const noexcept { return options.content || options.share; }
  // Makes `entry` point to the extent of `other`, which lies in our source number `source`.
  void refer(ChunkEntry& entry, const ChunkEntry& other, std::uint16_t source) const noexcept;
  // Points `entry` to an extent with the same content, when there is one.
  bool share(ChunkEntry& entry);
  // Lets others share what was just stored in this folder.
  void offer(const ChunkEntry& entry);
  // The number of a folder among our candidates, added when it is new; 0 when there is no room.
  std::uint16_t add_source(const ImageSource& source);
};

struct ImageWriter::State : WriterState {};

void random_bytes(void* out, std::size_t bytes);

}  // namespace phos::executor
