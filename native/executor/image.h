// SPDX-License-Identifier: Apache-2.0
// Writing, checking and reading a gpu-K folder (image_format.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "executor/blob_store.h"
#include "executor/image_format.h"
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
  std::uint64_t device_bytes = 0;
  std::uint64_t written_bytes = 0;
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

// Writes a complete folder; `directory` exists and is empty. Nothing is promised about what lies
// there after a failure. Host memory: lanes * kLaneBytes.
SaveResult write_image(const std::string& directory, const Snapshot& snapshot, MemoryPort& memory,
                       std::uint32_t lanes, const Progress& progress);

// A checked folder: sizes, versions, checksums of everything but the data files' chunks, and that
// every chunk lies where a data file has one.
struct ImageIndex {
  std::string directory;
  Snapshot snapshot;
  std::vector<ChunkEntry> chunks;
  std::uint32_t lanes = 0;
  std::uint64_t device_bytes = 0;
  std::uint64_t stored_bytes = 0;
};
ImageIndex read_index(const std::string& directory);
// Reads every chunk and checks it; hands it to `memory` unless that is null.
std::uint64_t read_chunks(const ImageIndex& index, MemoryPort* memory, std::uint32_t lanes,
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
VerifyResult verify_image(const std::string& directory, const Progress& progress);

// Runs `work(lane)` on `lanes` threads; throws what the first of them threw.
void run_lanes(std::uint32_t lanes, const std::function<void(std::uint32_t)>& work);

inline constexpr std::size_t kLaneBytes = std::size_t{8} << 20;

}  // namespace phos::executor
