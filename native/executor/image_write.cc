// SPDX-License-Identifier: Apache-2.0
// The lanes of a writer: each takes pieces from the source, leaves out what need not be stored,
// and writes the rest at the end of its own data file.
#include "executor/image_writer.h"

#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <thread>

#include "executor/fault.h"

namespace phos::executor {

void run_lanes(std::uint32_t lanes, const std::function<void(std::uint32_t)>& work,
               bool background) {
  std::mutex mutex;
  std::exception_ptr first;
  const auto guarded = [&](std::uint32_t lane) {
    // Only this thread, and for good: it ends with the work. Without it the work is the same.
    if (background) ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 19);
    try {
      work(lane);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (std::uint32_t lane = background ? 0 : 1; lane < lanes; ++lane) {
    threads.emplace_back(guarded, lane);
  }
  if (!background) guarded(0);
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

void random_bytes(void* out, std::size_t bytes) {
  if (::getrandom(out, bytes, 0) != static_cast<ssize_t>(bytes)) {
    throw Failure(Code::unavailable, "The kernel gave no random bytes for the image's id.");
  }
}

namespace {

struct FreeZstd {
  void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
};

// What one lane needs while it runs.
struct Workspace {
  std::unique_ptr<ZSTD_CCtx, FreeZstd> zstd;
  PageBuffer out;
  std::optional<Sealer> sealer;
};

Workspace make_workspace(const WriterState& state) {
  Workspace space;
  if (state.sealer) space.sealer.emplace(*state.sealer);
  if (state.options.compress == 0) return space;
  space.zstd.reset(ZSTD_createCCtx());
  if (space.zstd == nullptr) {
    throw Failure(Code::unavailable, "No host memory to compress with; free some, try again.", {},
                  true);
  }
  space.out = make_page_buffer(kLaneBytes + kPieceSlack);
  return space;
}

// The parent's chunk at this place, when it holds these very bytes.
bool refer_to_parent(WriterState& state, ChunkEntry& entry) {
  if (!state.parent) return false;
  const ChunkEntry* old = state.parent->find(entry.address);
  if (old == nullptr || old->bytes != entry.bytes || (old->flags & kChunkZero) != 0 ||
      (old->flags & kChunkGlobal) != (entry.flags & kChunkGlobal) ||
      old->checksum != entry.checksum) {
    return false;
  }
  state.refer(entry, *old, state.parent_sources[old->source]);
  return true;
}

// Takes over what the parent has for a chunk that nobody read: its bytes did not change.
ChunkEntry unchanged_entry(WriterState& state, ChunkEntry entry) {
  const ChunkEntry* old = state.parent ? state.parent->find(entry.address) : nullptr;
  if (old == nullptr || old->bytes != entry.bytes ||
      (old->flags & kChunkGlobal) != (entry.flags & kChunkGlobal) ||
      (state.content() && (old->flags & (kChunkZero | kChunkContent)) == 0)) {
    throw Failure(Code::internal, "A chunk was said to be as in the parent, which has none such.");
  }
  if ((old->flags & kChunkZero) != 0) {
    entry.flags |= kChunkZero;
    return entry;
  }
  entry.checksum = old->checksum;
  if ((old->flags & kChunkContent) != 0) {
    entry.flags |= kChunkContent;
    entry.content = old->content;
  }
  state.refer(entry, *old, state.parent_sources[old->source]);
  return entry;
}

// Where the bytes lie already; false: they must be stored.
bool find_elsewhere(WriterState& state, Lane& lane, ChunkEntry& entry) {
  if (refer_to_parent(state, entry)) {
    ++lane.parent_chunks;
    return true;
  }
  if (state.share(entry)) {
    ++lane.shared_chunks;
    return true;
  }
  return false;
}

// Puts one chunk at `to` as it is stored. `from` may be `to`.
void encode_chunk(WriterState& state, Workspace& space, ChunkEntry& entry,
                  const std::uint8_t* from, std::uint8_t* to) {
  entry.stored = entry.bytes;
  bool plain = true;
  if (space.zstd != nullptr && entry.bytes > kPageBytes) {
    // A frame that saves not even a page is not worth its decompression.
    const std::size_t size = ZSTD_compressCCtx(space.zstd.get(), to, entry.bytes - kPageBytes, from,
                                               entry.bytes, state.options.compress);
    if (ZSTD_isError(size) == 0) {
      entry.stored = static_cast<std::uint32_t>(size);
      entry.flags |= kChunkCompressed;
      plain = false;
    }
  }
  if (plain && to != from) std::memmove(to, from, entry.bytes);
  if (space.sealer) {
    const SealedAs as = space.sealer->as(entry.lane, entry.offset, entry.bytes,
                                         entry.flags & kChunkCompressed);
    space.sealer->seal(as, to, entry.stored, entry.tag);
  }
  std::memset(to + entry.stored, 0, padded(entry.stored) - entry.stored);
}

void write_piece(WriterState& state, std::uint32_t number, Workspace& space, const Piece& piece,
                 std::uint64_t sequence) {
  Lane& lane = state.lanes[number];
  std::uint8_t* const out = space.out ? space.out.get() : piece.data;
  std::uint64_t kept = 0;
  for (std::uint64_t at = 0, i = 0; at < piece.bytes; at += kChunkBytes, ++i) {
    ChunkEntry entry{};
    entry.address = piece.address + at;
    entry.bytes = static_cast<std::uint32_t>(std::min(kChunkBytes, piece.bytes - at));
    entry.flags = piece.flags;
    if (piece.change != nullptr) entry.change = piece.change[i];
    if (piece.data == nullptr) {
      lane.chunks.push_back({unchanged_entry(state, entry), sequence});
      ++lane.parent_chunks;
      continue;
    }
    const std::uint8_t* bytes = piece.data + at;
    if (all_zero(bytes, entry.bytes)) {
      entry.flags |= kChunkZero;
    } else {
      entry.checksum = digest_of(bytes, entry.bytes, state.seed);
      if (state.content()) {
        entry.content = sha256_of(bytes, entry.bytes);
        entry.flags |= kChunkContent;
      }
      if (!find_elsewhere(state, lane, entry)) {
        entry.lane = static_cast<std::uint16_t>(number);
        entry.offset = lane.end + kept;
        encode_chunk(state, space, entry, bytes, out + kept);
        kept += padded(entry.stored);
        state.offer(entry);
      }
    }
    lane.chunks.push_back({entry, sequence});
  }
  if (kept == 0) return;
  lane.file.write_at(out, kept, lane.end);
  lane.end += kept;
}

void run_lane(WriterState& state, std::uint32_t number, ChunkSource& source, WriterJob& job) {
  Workspace space = make_workspace(state);
  Piece piece;
  while (!job.failed.load() && source.next(number, piece)) {
    const std::uint64_t sequence = state.sequence.fetch_add(1);
    if (piece.bytes == 0 || piece.bytes > kLaneBytes || (piece.flags & ~kChunkGlobal) != 0) {
      throw Failure(Code::internal, "A source gave the writer a malformed piece.");
    }
    write_piece(state, number, space, piece, sequence);
    source.release(number, piece);
    const std::uint64_t done = job.done.fetch_add(piece.bytes) + piece.bytes;
    if (job.progress) job.progress(done, std::max(done, job.total));
  }
}

}  // namespace

void ImageWriter::drain(ChunkSource& source, std::uint64_t total, const Progress& progress) {
  WriterJob job{total, progress};
  const auto work = [&](std::uint32_t lane) {
    try {
      run_lane(*state_, lane, source, job);
    } catch (...) {
      job.failed.store(true);
      throw;
    }
  };
  run_lanes(state_->options.lanes, work, state_->options.compress != 0);
}

namespace {

// All memory of a snapshot at rest, piece by piece through a port.
class PortSource : public ChunkSource {
 public:
  PortSource(const Snapshot& snapshot, MemoryPort& memory) : memory_(memory) {
    for (const MemoryRange& range : snapshot.ranges) add(range.address, range.bytes, 0);
    for (const Region& variable : snapshot.variables) {
      add(variable.address, variable.bytes, kChunkGlobal);
    }
  }
  std::uint64_t total() const noexcept { return total_; }

  bool next(std::uint32_t lane, Piece& piece) override {
    const std::size_t index = next_.fetch_add(1);
    if (index >= pieces_.size()) return false;
    piece = pieces_[index];
    piece.data = memory_.buffer(lane, kLaneBytes + kPieceSlack);
    if (fault_point("save.copy") != 0) {
      throw Failure(Code::device, "Copying device memory failed (injected fault).");
    }
    memory_.read(lane, piece.address, piece.data, piece.bytes);
    return true;
  }
  void release(std::uint32_t, const Piece&) override {}

 private:
  void add(std::uint64_t address, std::uint64_t bytes, std::uint32_t flags) {
    total_ += bytes;
    for (std::uint64_t at = 0; at < bytes; at += kLaneBytes) {
      Piece piece;
      piece.address = address + at;
      piece.bytes = std::min<std::uint64_t>(kLaneBytes, bytes - at);
      piece.flags = flags;
      pieces_.push_back(piece);
    }
  }

  MemoryPort& memory_;
  std::vector<Piece> pieces_;
  std::uint64_t total_ = 0;
  std::atomic<std::size_t> next_{0};
};

}  // namespace

SaveResult write_image(const std::string& directory, const Snapshot& snapshot, MemoryPort& memory,
                       WriteOptions options, const Progress& progress) {
  ImageWriter writer(directory, std::move(options));
  PortSource source(snapshot, memory);
  writer.drain(source, source.total(), progress);
  return writer.finish(snapshot);
}

}  // namespace phos::executor
