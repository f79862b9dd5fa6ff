// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cstring>

#include "executor/fault.h"
#include "executor/file.h"
#include "executor/image.h"

namespace phos::executor {

namespace {

constexpr std::uint64_t kMaxIndexBytes = std::uint64_t{8} << 30;

// Version first: a file of another version may mean anything by its other fields.
void check_header(const FileHeader& header, const char* magic, const std::string& path,
                  std::uint64_t size) {
  if (std::memcmp(header.magic, magic, sizeof(header.magic)) != 0) {
    throw_invalid(path, 0, "not a file of this kind");
  }
  if (header.version != kImageVersion) {
    throw Failure(Code::unsupported,
                  "The image is of version " + std::to_string(header.version) +
                      " and this phos reads version " + std::to_string(kImageVersion) + " (" +
                      path + "). Use the phos that wrote it.",
                  {{"file", path}, {"version", std::to_string(header.version)}});
  }
  if (header.bytes != size) {
    throw_invalid(path, std::min(header.bytes, size),
                  "the file has " + std::to_string(size) + " bytes instead of " +
                      std::to_string(header.bytes));
  }
}

struct Body {
  FileHeader header{};
  std::vector<std::uint8_t> bytes;
  std::string path;
};

Body read_body(const std::string& directory, const char* name, const char* magic) {
  Body body;
  body.path = directory + "/" + name;
  const File file = File::open(body.path, false);
  const std::uint64_t size = file.size();
  if (size < sizeof(FileHeader)) throw_invalid(body.path, size, "the file ends early");
  if (size > kMaxIndexBytes) throw_invalid(body.path, 0, "the file is too large");
  file.read_at(&body.header, sizeof(FileHeader), 0);
  check_header(body.header, magic, body.path, size);
  body.bytes.resize(size - sizeof(FileHeader));
  file.read_at(body.bytes.data(), body.bytes.size(), sizeof(FileHeader));
  if (digest_of(body.bytes.data(), body.bytes.size()) != body.header.checksum) {
    throw_invalid(body.path, sizeof(FileHeader), "the checksum does not match");
  }
  if (body.header.lane > (std::strcmp(name, "chunks") == 0 ? kMaxLanes : 0)) {
    throw_invalid(body.path, 12, "a field is set that must be zero");
  }
  return body;
}

std::map<Digest, Blob> decode_blobs(const Body& body) {
  std::map<Digest, Blob> blobs;
  ByteReader in(body.bytes, body.path, sizeof(FileHeader));
  for (std::uint64_t i = 0; i < body.header.count; ++i) {
    const auto digest = in.get<Digest>();
    const auto bytes = in.bytes();
    if (digest_of(bytes.data(), bytes.size()) != digest) {
      in.invalid("a code image does not match its hash");
    }
    blobs[digest] = std::make_shared<const std::vector<std::uint8_t>>(bytes.begin(), bytes.end());
  }
  in.expect_end();
  return blobs;
}

std::vector<ChunkEntry> decode_chunks(const Body& body) {
  if (body.header.count != body.bytes.size() / sizeof(ChunkEntry) ||
      body.bytes.size() % sizeof(ChunkEntry) != 0) {
    throw_invalid(body.path, 24, "the number of chunks does not fit the file's size");
  }
  std::vector<ChunkEntry> chunks(body.header.count);
  std::memcpy(chunks.data(), body.bytes.data(), body.bytes.size());
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const ChunkEntry& entry = chunks[i];
    const std::uint64_t at = sizeof(FileHeader) + i * sizeof(ChunkEntry);
    if (entry.bytes == 0 || entry.bytes > kChunkBytes || entry.address < end ||
        entry.address + entry.bytes < entry.address ||
        (entry.flags & ~(kChunkZero | kChunkGlobal)) != 0 || entry.pad != 0) {
      throw_invalid(body.path, at, "a chunk is malformed or overlaps another");
    }
    end = entry.address + entry.bytes;
  }
  return chunks;
}

// Every byte of every data file belongs to one chunk; all files are of this image.
void check_data_files(const ImageIndex& index, const FileHeader& objects) {
  std::vector<std::vector<const ChunkEntry*>> by_lane(index.lanes);
  for (const ChunkEntry& entry : index.chunks) {
    if ((entry.flags & kChunkZero) == 0) by_lane[entry.lane].push_back(&entry);
  }
  for (std::uint32_t lane = 0; lane < index.lanes; ++lane) {
    const std::string path = index.directory + "/data-" + std::to_string(lane);
    const File file = File::open(path, false);
    const std::uint64_t size = file.size();
    if (size < kPageBytes) throw_invalid(path, size, "the file ends early");
    std::vector<std::uint8_t> page(kPageBytes);
    file.read_at(page.data(), page.size(), 0);
    FileHeader header{};
    std::memcpy(&header, page.data(), sizeof(header));
    check_header(header, kDataMagic, path, size);
    auto& chunks = by_lane[lane];
    if (header.lane != lane || header.count != chunks.size() || header.checksum != Digest{} ||
        std::memcmp(header.image_id, objects.image_id, sizeof(header.image_id)) != 0 ||
        !all_zero(page.data() + sizeof(header), kPageBytes - sizeof(header))) {
      throw_invalid(path, 0, "the header does not belong to this image");
    }
    std::sort(chunks.begin(), chunks.end(),
              [](const ChunkEntry* a, const ChunkEntry* b) { return a->offset < b->offset; });
    std::uint64_t end = kPageBytes;
    for (const ChunkEntry* entry : chunks) {
      if (entry->offset != end) throw_invalid(path, end, "the file's extents do not fit `chunks`");
      end += padded(entry->bytes);
    }
    if (end != size) throw_invalid(path, end, "the file's size does not fit `chunks`");
  }
}

// Every live granule and variable has its chunks, and no chunk is of anything else.
void check_coverage(const ImageIndex& index, const std::string& path) {
  std::vector<MemoryRange> wanted = index.snapshot.ranges;
  for (const Region& variable : index.snapshot.variables) {
    wanted.push_back({variable.address, variable.bytes});
  }
  std::sort(wanted.begin(), wanted.end(), [](const MemoryRange& a, const MemoryRange& b) {
    return a.address < b.address;
  });
  std::size_t next = 0;
  for (const MemoryRange& range : wanted) {
    std::uint64_t at = range.address;
    while (at < range.address + range.bytes) {
      if (next == index.chunks.size() || index.chunks[next].address != at) {
        throw_invalid(path, sizeof(FileHeader) + next * sizeof(ChunkEntry),
                      "memory of a live allocation is missing");
      }
      at += index.chunks[next++].bytes;
    }
    if (at != range.address + range.bytes) {
      throw_invalid(path, sizeof(FileHeader) + next * sizeof(ChunkEntry),
                    "a chunk leaves its allocation");
    }
  }
  if (next != index.chunks.size()) {
    throw_invalid(path, sizeof(FileHeader) + next * sizeof(ChunkEntry),
                  "a chunk of memory that is not allocated");
  }
}

std::vector<MemoryRange> ranges_of(const std::vector<Allocation>& allocations,
                                   const std::string& path) {
  std::vector<Allocation> sorted = allocations;
  std::sort(sorted.begin(), sorted.end(), [](const Allocation& a, const Allocation& b) {
    return a.address < b.address;
  });
  std::vector<MemoryRange> ranges;
  std::uint64_t end_of_last = 0;
  for (const Allocation& allocation : sorted) {
    if (allocation.address < end_of_last) {
      throw_invalid(path, sizeof(FileHeader), "two allocations overlap");
    }
    end_of_last = allocation.address + allocation.bytes;
    add_granules(ranges, allocation);
  }
  return ranges;
}

}  // namespace

ImageIndex read_index(const std::string& directory) {
  ImageIndex index;
  index.directory = directory;
  const Body objects = read_body(directory, "objects", kObjectsMagic);
  ByteReader reader(objects.bytes, objects.path, sizeof(FileHeader));
  index.snapshot = decode_objects(reader);
  if (objects.header.count != index.snapshot.objects.size()) {
    throw_invalid(objects.path, 24, "the number of objects does not fit");
  }
  index.snapshot.ranges = ranges_of(index.snapshot.allocations, objects.path);
  const Body blobs = read_body(directory, "blobs", kBlobsMagic);
  index.snapshot.blobs = decode_blobs(blobs);
  const Body chunks = read_body(directory, "chunks", kChunksMagic);
  for (const Body* body : {&blobs, &chunks}) {
    if (std::memcmp(body->header.image_id, objects.header.image_id, 16) != 0) {
      throw_invalid(body->path, 48, "the file belongs to another image");
    }
  }
  index.chunks = decode_chunks(chunks);
  index.lanes = chunks.header.lane;
  for (const ChunkEntry& entry : index.chunks) {
    index.device_bytes += entry.bytes;
    if ((entry.flags & kChunkZero) != 0) continue;
    if (entry.lane >= index.lanes) {
      throw_invalid(chunks.path, 0, "a chunk in an unknown data file");
    }
    index.stored_bytes += padded(entry.bytes);
  }
  for (const SavedObject& object : index.snapshot.objects) {
    if (object.image != Digest{} && !index.snapshot.blobs.contains(object.image)) {
      throw_invalid(blobs.path, sizeof(FileHeader), "a code image is missing");
    }
  }
  check_coverage(index, chunks.path);
  check_data_files(index, objects.header);
  return index;
}

std::uint64_t read_chunks(const ImageIndex& index, MemoryPort* memory, std::uint32_t lanes,
                          const Progress& progress) {
  std::atomic<std::size_t> next{0};
  std::atomic<std::uint64_t> done{0};
  std::atomic<std::uint64_t> read{0};
  std::atomic<bool> failed{false};
  std::vector<File> files;
  for (std::uint32_t lane = 0; lane < index.lanes; ++lane) {
    files.push_back(File::open(index.directory + "/data-" + std::to_string(lane), true));
  }
  const auto load_one = [&](const ChunkEntry& entry, std::uint32_t lane, std::uint8_t* buffer) {
    if ((entry.flags & kChunkZero) != 0) {
      std::memset(buffer, 0, entry.bytes);
    } else {
      const File& file = files[entry.lane];
      const std::uint64_t stored = padded(entry.bytes);
      file.read_at(buffer, stored, entry.offset);
      read.fetch_add(stored);
      if (digest_of(buffer, entry.bytes) != entry.checksum ||
          !all_zero(buffer + entry.bytes, stored - entry.bytes)) {
        throw_invalid(file.path(), entry.offset, "the checksum of a chunk does not match");
      }
    }
    if (fault_point("load.copy") != 0) {
      throw Failure(Code::device, "Copying to device memory failed (injected fault).");
    }
    if (memory != nullptr) memory->write(lane, entry.address, buffer, entry.bytes);
  };
  run_lanes(lanes, [&](std::uint32_t lane) {
    PageBuffer own;
    std::uint8_t* buffer = nullptr;
    if (memory != nullptr) {
      buffer = memory->buffer(lane, kLaneBytes + kPageBytes);
    } else {
      own = make_page_buffer(kChunkBytes);
      buffer = own.get();
    }
    while (!failed.load()) {
      const std::size_t i = next.fetch_add(1);
      if (i >= index.chunks.size()) return;
      try {
        load_one(index.chunks[i], lane, buffer);
      } catch (...) {
        failed.store(true);
        throw;
      }
      const std::uint64_t so_far = done.fetch_add(index.chunks[i].bytes) + index.chunks[i].bytes;
      if (progress) progress(so_far, index.device_bytes);
    }
  });
  return read.load();
}

VerifyResult verify_image(const std::string& directory, const Progress& progress) {
  const ImageIndex index = read_index(directory);
  VerifyResult result;
  result.read_bytes = read_chunks(index, nullptr, 2, progress);
  result.client_id = hex_of(index.snapshot.facts.client_id, 16);
  result.cut = index.snapshot.facts.cut;
  result.objects = index.snapshot.objects.size();
  result.chunks = index.chunks.size();
  result.device_bytes = index.device_bytes;
  return result;
}

}  // namespace phos::executor
