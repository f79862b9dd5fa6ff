// SPDX-License-Identifier: Apache-2.0
// Reading chunks: decrypted, decompressed, and compared with their checksums on the way.
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "executor/fault.h"
#include "executor/file.h"
#include "executor/image.h"

namespace phos::executor {

namespace {

struct FreeZstd {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

// What one lane needs while it reads.
struct LaneSpace {
  std::vector<std::optional<Sealer>> sealers;  // of each source
  std::unique_ptr<ZSTD_DCtx, FreeZstd> zstd;
  PageBuffer packed;
};

}  // namespace

struct ChunkReader::State {
  const ImageIndex& index;
  const bool content;
  std::vector<std::vector<File>> files;  // of each source, by lane
  std::vector<LaneSpace> lanes;

  void unpack(LaneSpace& space, const ChunkEntry& entry, std::uint8_t* packed, std::uint8_t* to);
  [[noreturn]] void refuse(const ChunkEntry& entry, const char* what) const {
    throw_invalid(files[entry.source][entry.lane].path(), entry.offset, what);
  }
};

// `packed` holds the extent; it may be `to` when the chunk is not compressed.
void ChunkReader::State::unpack(LaneSpace& space, const ChunkEntry& entry, std::uint8_t* packed,
                                std::uint8_t* to) {
  if (!all_zero(packed + entry.stored, padded(entry.stored) - entry.stored)) {
    refuse(entry, "the padding of an extent is not zero");
  }
  if (index.key) {
    auto& sealer = space.sealers[entry.source];
    if (!sealer) sealer.emplace(*index.key, index.sources[entry.source].image_id);
    const SealedAs as = sealer->as(entry.lane, entry.offset, entry.bytes,
                                   entry.flags & kChunkCompressed);
    if (!sealer->open(as, packed, entry.stored, entry.tag)) {
      refuse(entry, "a chunk was altered: decryption fails");
    }
  }
  if ((entry.flags & kChunkCompressed) != 0) {
    if (space.zstd == nullptr) space.zstd.reset(ZSTD_createDCtx());
    const std::size_t size =
        ZSTD_decompressDCtx(space.zstd.get(), to, entry.bytes, packed, entry.stored);
    if (ZSTD_isError(size) != 0 || size != entry.bytes) {
      refuse(entry, "a chunk cannot be decompressed");
    }
  }
  if (digest_of(to, entry.bytes, index.seed) != entry.checksum) {
    refuse(entry, "the checksum of a chunk does not match");
  }
  if (content && (entry.flags & kChunkContent) != 0 &&
      sha256_of(to, entry.bytes) != entry.content) {
    refuse(entry, "the SHA-256 of a chunk does not match");
  }
}

ChunkReader::ChunkReader(const ImageIndex& index, std::uint32_t lanes, bool content)
    : state_(new State{index, content, {}, {}}) {
  state_->files.resize(index.sources.size());
  for (std::size_t i = 0; i < index.sources.size(); ++i) {
    state_->files[i].resize(index.sources[i].lanes);
  }
  for (const ChunkEntry& entry : index.chunks) {
    if ((entry.flags & kChunkZero) != 0) continue;
    File& file = state_->files[entry.source][entry.lane];
    if (file.is_open()) continue;
    file = File::open(index.sources[entry.source].directory + "/data-" +
                          std::to_string(entry.lane),
                      true);
  }
  state_->lanes.resize(lanes);
  for (LaneSpace& space : state_->lanes) space.sealers.resize(index.sources.size());
}

ChunkReader::~ChunkReader() = default;

std::size_t ChunkReader::run_length(std::size_t first) const noexcept {
  const std::vector<ChunkEntry>& chunks = state_->index.chunks;
  const bool zero = (chunks[first].flags & kChunkZero) != 0;
  std::uint64_t bytes = chunks[first].bytes;
  std::size_t count = 1;
  for (; first + count < chunks.size(); ++count) {
    const ChunkEntry& last = chunks[first + count - 1];
    const ChunkEntry& next = chunks[first + count];
    const bool beside = next.address == last.address + last.bytes &&
                        last.bytes % kPageBytes == 0 && bytes + next.bytes <= kLaneBytes;
    const bool alike = next.source == last.source && next.lane == last.lane &&
                       ((last.flags ^ next.flags) & kChunkZero) == 0 &&
                       ((last.flags | next.flags) & kChunkCompressed) == 0;
    if (!beside || !alike || (!zero && next.offset != last.offset + padded(last.stored))) break;
    bytes += next.bytes;
  }
  return count;
}

std::uint64_t ChunkReader::read(std::uint32_t lane, std::size_t first, std::size_t count,
                                std::uint8_t* buffer) {
  const ChunkEntry* const run = &state_->index.chunks[first];
  std::uint64_t bytes = 0;
  std::uint64_t stored = 0;
  for (std::size_t i = 0; i < count; ++i) {
    bytes += run[i].bytes;
    stored += padded(run[i].stored);
  }
  if ((run->flags & kChunkZero) != 0) {
    std::memset(buffer, 0, bytes);
    return 0;
  }
  LaneSpace& space = state_->lanes[lane];
  const File& file = state_->files[run->source][run->lane];
  if ((run->flags & kChunkCompressed) != 0) {
    if (!space.packed) space.packed = make_page_buffer(kChunkBytes);
    file.read_at(space.packed.get(), stored, run->offset);
    state_->unpack(space, *run, space.packed.get(), buffer);
    return stored;
  }
  file.read_at(buffer, stored, run->offset);
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    state_->unpack(space, run[i], buffer + at, buffer + at);
    at += run[i].bytes;
  }
  return stored;
}

std::uint64_t read_chunks(const ImageIndex& index, MemoryPort* memory, std::uint32_t lanes,
                          bool content, const Progress& progress) {
  struct Run {
    std::size_t first;
    std::size_t count;
    std::uint64_t bytes;
  };
  ChunkReader reader(index, lanes, content);
  std::vector<Run> runs;
  for (std::size_t first = 0; first < index.chunks.size();) {
    Run run{first, reader.run_length(first), 0};
    for (std::size_t i = 0; i < run.count; ++i) run.bytes += index.chunks[first + i].bytes;
    first += run.count;
    runs.push_back(run);
  }
  std::atomic<std::size_t> next{0};
  std::atomic<std::uint64_t> done{0};
  std::atomic<std::uint64_t> read{0};
  std::atomic<bool> failed{false};
  run_lanes(lanes, [&](std::uint32_t lane) {
    PageBuffer own;
    std::uint8_t* buffer = nullptr;
    if (memory != nullptr) {
      buffer = memory->buffer(lane, kLaneBytes + kPieceSlack);
    } else {
      own = make_page_buffer(kLaneBytes + kPieceSlack);
      buffer = own.get();
    }
    try {
      while (!failed.load()) {
        const std::size_t i = next.fetch_add(1);
        if (i >= runs.size()) return;
        read.fetch_add(reader.read(lane, runs[i].first, runs[i].count, buffer));
        if (fault_point("load.copy") != 0) {
          throw Failure(Code::device, "Copying to device memory failed (injected fault).");
        }
        if (memory != nullptr) {
          memory->write(lane, index.chunks[runs[i].first].address, buffer, runs[i].bytes);
        }
        const std::uint64_t so_far = done.fetch_add(runs[i].bytes) + runs[i].bytes;
        if (progress) progress(so_far, index.device_bytes);
      }
    } catch (...) {
      failed.store(true);
      throw;
    }
  });
  return read.load();
}

VerifyResult verify_image(const std::string& directory, const ReadOptions& options,
                          const Progress& progress) {
  const ImageIndex index = read_index(directory, options.key);
  VerifyResult result;
  result.read_bytes = read_chunks(index, nullptr, options.lanes, options.content, progress);
  result.client_id = hex_of(index.snapshot.facts.client_id, 16);
  result.cut = index.snapshot.facts.cut;
  result.objects = index.snapshot.objects.size();
  result.chunks = index.chunks.size();
  result.device_bytes = index.device_bytes;
  return result;
}

}  // namespace phos::executor
