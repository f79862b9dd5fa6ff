// SPDX-License-Identifier: Apache-2.0
// Writing, checking and reading a gpu-K folder (image_format.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "executor/blob_store.h"
#include "executor/image_format.h"
#include "executor/image_seal.h"
#include "executor/snapshot.h"

namespace phos::executor {

using Progress = std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)>;

struct ImageFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::string xxh3;  // empty for data files
};

struct SaveResult {
  std::uint64_t cut = 0;
  std::uint64_t objects = 0;
  std::uint64_t chunks = 0;
  std::uint64_t zero_chunks = 0;
  std::uint64_t parent_chunks = 0;  // found in the parent
  std::uint64_t shared_chunks = 0;  // the same bytes elsewhere, by SHA-256
  std::uint64_t device_bytes = 0;
  std::uint64_t written_bytes = 0;  // extents of this folder
  std::uint64_t moved_bytes = 0;    // from the device to the host, when the engine counted them
  std::vector<ImageFile> files;
  double objects_ms = 0;
  double copy_ms = 0;
  double sync_ms = 0;
};

struct LoadResult {
  std::uint64_t cut = 0;
  std::string client_id;
  std::uint64_t objects = 0;
  std::uint64_t chunks = 0;
  std::uint64_t device_bytes = 0;
  std::uint64_t read_bytes = 0;
  double verify_ms = 0;
  double objects_ms = 0;
  double copy_ms = 0;
};

// Copies device memory for one lane; called from that lane's thread. Throws DEVICE.
class MemoryPort {
 public:
  virtual ~MemoryPort() = default;
  // A buffer that the device copies to and from at full speed; it lives as long as the port.
  virtual std::uint8_t* buffer(std::uint32_t lane, std::size_t bytes) = 0;
  virtual void read(std::uint32_t lane, std::uint64_t address, void* to, std::size_t bytes) = 0;
  virtual void write(std::uint32_t lane, std::uint64_t address, const void* from,
                     std::size_t bytes) = 0;
};

inline constexpr std::size_t kLaneBytes = std::size_t{8} << 20;
// What a buffer needs beyond a piece's bytes: the last chunk is padded in place.
inline constexpr std::size_t kPieceSlack = kPageBytes;

// A run of device memory as a source hands it over; cut into chunks from its address on.
struct Piece {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;  // at most kLaneBytes
  std::uint32_t flags = 0;  // kChunkGlobal or 0
  // Page-aligned, with kPieceSlack bytes of room behind; the writer alters what lies there. Null:
  // these bytes are those of the parent, chunk by chunk.
  std::uint8_t* data = nullptr;
  // One for each chunk, kept in the index for whoever asks later what has changed; or null.
  const Digest* change = nullptr;
};

// Yields what is to be written. Each lane calls from a thread of its own, several at once.
class ChunkSource {
 public:
  virtual ~ChunkSource() = default;
  // The next piece for this lane, waiting until there is one; false: there is none any more. A
  // lane has one piece at a time. An address that comes again replaces what was written of it.
  virtual bool next(std::uint32_t lane, Piece& piece) = 0;
  // The writer has done with the piece's memory.
  virtual void release(std::uint32_t lane, const Piece& piece) = 0;
};

struct WriteOptions {
  std::uint32_t lanes = 1;
  int compress = 0;                 // level of zstd; 0: chunks are stored as they are
  bool content = false;             // SHA-256 of every chunk: for signed images
  std::string parent;               // gpu-K folder whose unchanged chunks are not stored again
  bool share = false;               // the same bytes, by SHA-256, are stored once
  std::vector<std::string> donors;  // gpu-K folders of the same owner, searched when sharing
  std::optional<ImageKey> key;      // of the parent and the donors too
  std::optional<std::uint64_t> seed;  // of the checksums, for an image that stays in its chain
};

struct ReadOptions {
  std::uint32_t lanes = 1;
  bool content = false;  // check SHA-256 too, where the index has it
  std::optional<ImageKey> key;
};

struct ImageIndex;

// Writes a complete folder; the folder exists and is empty. Nothing is promised about what lies
// there after a failure. Host memory: the source's, and lanes * 8 MiB when it compresses.
class ImageWriter {
 public:
  // Reads the parent's index; the lanes' files are made. CONFLICT, STORAGE, IMAGE_INVALID.
  ImageWriter(const std::string& directory, WriteOptions options);
  ~ImageWriter();
  ImageWriter(const ImageWriter&) = delete;
  ImageWriter& operator=(const ImageWriter&) = delete;

  // Null without a parent. Its entries tell checksum and change hash of what it has.
  const ImageIndex* parent() const noexcept;
  // Of the chunks' checksums in this image: the parent's, or new.
  std::uint64_t seed() const noexcept;
  // Runs the lanes until the source has no more; may be called again, and not by two threads.
  // `total` is for progress. Throws what the source or a write threw first.
  void drain(ChunkSource& source, std::uint64_t total, const Progress& progress);
  // Writes what describes the chunks, and brings everything onto the disk.
  SaveResult finish(const Snapshot& snapshot);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// All of the snapshot's memory through the port, at rest. Host memory: lanes * kLaneBytes.
SaveResult write_image(const std::string& directory, const Snapshot& snapshot, MemoryPort& memory,
                       WriteOptions options, const Progress& progress);

struct ImageSource {
  std::string directory;
  std::uint8_t image_id[16]{};
  std::uint32_t lanes = 0;
};

// A checked folder: sizes, versions, checksums of everything but the data files' chunks, and that
// every chunk lies where a data file has one.
struct ImageIndex {
  std::string directory;
  Snapshot snapshot;
  std::vector<ChunkEntry> chunks;
  std::vector<DeadExtent> dead;
  std::vector<ImageSource> sources;  // the first is this folder
  std::uint64_t seed = 0;
  std::optional<ImageKey> key;  // when it is encrypted
  std::uint32_t lanes = 0;
  std::uint64_t device_bytes = 0;
  std::uint64_t stored_bytes = 0;  // of extents in this folder

  // The chunk that begins there, or null.
  const ChunkEntry* find(std::uint64_t address) const noexcept;
};

// IMAGE_INVALID naming file and offset; UNSUPPORTED for another version; PERMISSION when the image
// is encrypted and `key` is none or another.
ImageIndex read_index(const std::string& directory, const std::optional<ImageKey>& key = {});

// Reads chunks of an index and checks them. Each lane from a thread of its own.
class ChunkReader {
 public:
  // `content`: SHA-256 is checked too, where the index has it.
  ChunkReader(const ImageIndex& index, std::uint32_t lanes, bool content);
  ~ChunkReader();
  // How many chunks from `first` on one read brings: they lie side by side in memory and on disk,
  // at most kLaneBytes of them.
  std::size_t run_length(std::size_t first) const noexcept;
  // Reads the plain bytes of `count` chunks, which run_length() allowed, back to back into
  // `buffer` (kLaneBytes + kPieceSlack, page-aligned). Returns the bytes that came from the disk.
  std::uint64_t read(std::uint32_t lane, std::size_t first, std::size_t count,
                     std::uint8_t* buffer);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Reads every chunk and checks it; hands it to `memory` unless that is null.
std::uint64_t read_chunks(const ImageIndex& index, MemoryPort* memory, std::uint32_t lanes,
                          bool content, const Progress& progress);

// Writes the folder `from` anew into `to`, which exists and is empty, with nothing taken from other
// images. Parent and donors of the options are for chunks that may stay where they are.
SaveResult compact_image(const std::string& from, const std::string& to, WriteOptions options,
                         const Progress& progress);

struct VerifyResult {
  std::uint32_t version = kImageVersion;
  std::string client_id;
  std::uint64_t cut = 0;
  std::uint64_t objects = 0;
  std::uint64_t chunks = 0;
  std::uint64_t device_bytes = 0;
  std::uint64_t read_bytes = 0;
};
VerifyResult verify_image(const std::string& directory, const ReadOptions& options,
                          const Progress& progress);

// Runs `work(lane)` on `lanes` threads; throws what the first of them threw. `background` gives
// the threads the least share of busy cores.
void run_lanes(std::uint32_t lanes, const std::function<void(std::uint32_t)>& work,
               bool background = false);

}  // namespace phos::executor
