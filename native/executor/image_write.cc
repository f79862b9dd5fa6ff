// SPDX-License-Identifier: Apache-2.0
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "executor/fault.h"
#include "executor/file.h"
#include "executor/image.h"

namespace phos::executor {

namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

struct Piece {
  std::uint64_t address;
  std::uint64_t bytes;  // at most kLaneBytes
  std::uint32_t flags;
};

std::vector<Piece> pieces_of(const Snapshot& snapshot) {
  std::vector<Piece> pieces;
  const auto add = [&](std::uint64_t address, std::uint64_t bytes, std::uint32_t flags) {
    for (std::uint64_t at = 0; at < bytes; at += kLaneBytes) {
      pieces.push_back({address + at, std::min<std::uint64_t>(kLaneBytes, bytes - at), flags});
    }
  };
  for (const MemoryRange& range : snapshot.ranges) add(range.address, range.bytes, 0);
  for (const Region& variable : snapshot.variables) {
    add(variable.address, variable.bytes, kChunkGlobal);
  }
  return pieces;
}

// One lane: its data file, and the chunks it has written.
struct Lane {
  File file;
  std::uint64_t end = kPageBytes;
  std::vector<ChunkEntry> chunks;
  std::uint64_t stored = 0;
};

struct Job {
  const std::vector<Piece>& pieces;
  MemoryPort& memory;
  const Progress& progress;
  std::uint64_t total = 0;
  std::atomic<std::size_t> next{0};
  std::atomic<std::uint64_t> done{0};
  std::atomic<bool> failed{false};
};

// Copies a piece out, hashes its chunks, closes up what is not zero, and writes that at once.
void write_piece(Job& job, std::uint32_t number, Lane& lane, const Piece& piece,
                 std::uint8_t* buffer) {
  if (fault_point("save.copy") != 0) {
    throw Failure(Code::device, "Copying device memory failed (injected fault).");
  }
  job.memory.read(number, piece.address, buffer, piece.bytes);
  std::uint64_t kept = 0;
  for (std::uint64_t at = 0; at < piece.bytes; at += kChunkBytes) {
    ChunkEntry entry{};
    entry.address = piece.address + at;
    entry.bytes = static_cast<std::uint32_t>(std::min(kChunkBytes, piece.bytes - at));
    entry.flags = piece.flags;
    const std::uint8_t* bytes = buffer + at;
    if (all_zero(bytes, entry.bytes)) {
      entry.flags |= kChunkZero;
    } else {
      entry.lane = number;
      entry.offset = lane.end + kept;
      entry.checksum = digest_of(bytes, entry.bytes);
      if (kept != at) std::memmove(buffer + kept, bytes, entry.bytes);
      std::memset(buffer + kept + entry.bytes, 0, padded(entry.bytes) - entry.bytes);
      kept += padded(entry.bytes);
    }
    lane.chunks.push_back(entry);
  }
  if (kept != 0) lane.file.write_at(buffer, kept, lane.end);
  lane.end += kept;
  lane.stored += kept;
  const std::uint64_t done = job.done.fetch_add(piece.bytes) + piece.bytes;
  if (job.progress) job.progress(done, job.total);
}

void write_lane(Job& job, std::uint32_t number, Lane& lane) {
  // A page more: the last chunk of a piece is padded in place.
  std::uint8_t* buffer = job.memory.buffer(number, kLaneBytes + kPageBytes);
  while (!job.failed.load()) {
    const std::size_t index = job.next.fetch_add(1);
    if (index >= job.pieces.size()) return;
    try {
      write_piece(job, number, lane, job.pieces[index], buffer);
    } catch (...) {
      job.failed.store(true);
      throw;
    }
  }
}

FileHeader header_of(const char* magic, const std::uint8_t (&image_id)[16]) {
  FileHeader header{};
  std::memcpy(header.magic, magic, sizeof(header.magic));
  header.version = kImageVersion;
  std::memcpy(header.image_id, image_id, sizeof(image_id));
  return header;
}

ImageFile write_body(const std::string& directory, const char* name, FileHeader header,
                     std::uint64_t count, const std::vector<std::uint8_t>& body, File* out) {
  header.bytes = sizeof(header) + body.size();
  header.count = count;
  header.checksum = digest_of(body.data(), body.size());
  std::vector<std::uint8_t> whole(header.bytes);
  std::memcpy(whole.data(), &header, sizeof(header));
  std::memcpy(whole.data() + sizeof(header), body.data(), body.size());
  *out = File::create(directory + "/" + name, false);
  out->write_at(whole.data(), whole.size(), 0);
  return {name, whole.size(), hex_of(digest_of(whole.data(), whole.size()))};
}

std::vector<std::uint8_t> encode_blobs(const Snapshot& snapshot) {
  ByteWriter out;
  for (const auto& [digest, blob] : snapshot.blobs) {
    out.put(digest);
    out.bytes(*blob);
  }
  return out.take();
}

void finish_lane(Lane& lane, std::uint32_t number, const std::uint8_t (&image_id)[16]) {
  PageBuffer page = make_page_buffer(kPageBytes);
  std::memset(page.get(), 0, kPageBytes);
  FileHeader header = header_of(kDataMagic, image_id);
  header.lane = number;
  header.bytes = lane.end;
  header.count = static_cast<std::uint64_t>(
      std::count_if(lane.chunks.begin(), lane.chunks.end(),
                    [](const ChunkEntry& entry) { return (entry.flags & kChunkZero) == 0; }));
  std::memcpy(page.get(), &header, sizeof(header));
  lane.file.write_at(page.get(), kPageBytes, 0);
}

}  // namespace

void run_lanes(std::uint32_t lanes, const std::function<void(std::uint32_t)>& work) {
  std::mutex mutex;
  std::exception_ptr first;
  const auto guarded = [&](std::uint32_t lane) {
    try {
      work(lane);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (std::uint32_t lane = 1; lane < lanes; ++lane) threads.emplace_back(guarded, lane);
  guarded(0);
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

SaveResult write_image(const std::string& directory, const Snapshot& snapshot, MemoryPort& memory,
                       std::uint32_t lanes, const Progress& progress) {
  SaveResult result;
  result.cut = snapshot.facts.cut;
  result.objects = snapshot.objects.size();
  std::uint8_t image_id[16];
  if (::getrandom(image_id, sizeof(image_id), 0) != sizeof(image_id)) {
    throw Failure(Code::unavailable, "The kernel gave no random bytes for the image's id.");
  }
  auto start = Clock::now();
  File objects;
  File blobs;
  result.files.push_back(write_body(directory, "objects", header_of(kObjectsMagic, image_id),
                                    snapshot.objects.size(), encode_objects(snapshot), &objects));
  result.files.push_back(write_body(directory, "blobs", header_of(kBlobsMagic, image_id),
                                    snapshot.blobs.size(), encode_blobs(snapshot), &blobs));
  result.objects_ms = ms_since(start);

  start = Clock::now();
  const std::vector<Piece> pieces = pieces_of(snapshot);
  Job job{pieces, memory, progress};
  for (const Piece& piece : pieces) job.total += piece.bytes;
  result.device_bytes = job.total;
  std::vector<Lane> all(lanes);
  for (std::uint32_t i = 0; i < lanes; ++i) {
    all[i].file = File::create(directory + "/data-" + std::to_string(i), true);
  }
  run_lanes(lanes, [&](std::uint32_t lane) { write_lane(job, lane, all[lane]); });
  std::vector<ChunkEntry> chunks;
  for (std::uint32_t i = 0; i < lanes; ++i) {
    finish_lane(all[i], i, image_id);
    chunks.insert(chunks.end(), all[i].chunks.begin(), all[i].chunks.end());
    result.written_bytes += all[i].stored;
    result.files.push_back({"data-" + std::to_string(i), all[i].end, ""});
  }
  std::sort(chunks.begin(), chunks.end(), [](const ChunkEntry& a, const ChunkEntry& b) {
    return a.address < b.address;
  });
  result.chunks = chunks.size();
  ByteWriter index;
  for (const ChunkEntry& entry : chunks) {
    if ((entry.flags & kChunkZero) != 0) ++result.zero_chunks;
    index.put(entry);
  }
  File list;
  FileHeader list_header = header_of(kChunksMagic, image_id);
  list_header.lane = lanes;
  result.files.push_back(
      write_body(directory, "chunks", list_header, chunks.size(), index.data(), &list));
  result.copy_ms = ms_since(start);

  start = Clock::now();
  for (const File* file : {&objects, &blobs, &list}) file->sync();
  for (Lane& lane : all) lane.file.sync();
  sync_directory(directory);
  for (File* file : {&objects, &blobs, &list}) file->close();
  for (Lane& lane : all) lane.file.close();
  result.sync_ms = ms_since(start);
  return result;
}

}  // namespace phos::executor
