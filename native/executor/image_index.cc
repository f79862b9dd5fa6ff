// SPDX-License-Identifier: Apache-2.0
// Reading what describes an image's folder, and checking all of it before anything is believed.
#include <algorithm>
#include <cstring>
#include <filesystem>

#include "executor/bytes.h"
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
  if ((header.flags & ~kFileSealed) != 0 || header.pad != 0) {
    throw_invalid(path, offsetof(FileHeader, flags), "a field is set that must be zero");
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
    throw_invalid(body.path, offsetof(FileHeader, lane), "a field is set that must be zero");
  }
  return body;
}

// Decrypts a body in place. PERMISSION without the key, or with another.
void open_body(Body& body, std::uint32_t seal_as, std::optional<Sealer>& sealer) {
  const FileHeader& header = body.header;
  if (!sealer) {
    const auto is_zero = [](const auto& bytes) { return all_zero(bytes, sizeof(bytes)); };
    if (!is_zero(header.key_check) || !is_zero(header.tag)) {
      throw_invalid(body.path, offsetof(FileHeader, key_check), "a field is set that must be zero");
    }
    return;
  }
  if (std::memcmp(header.key_check, sealer->key_check().data(), sizeof(header.key_check)) != 0) {
    throw Failure(Code::permission,
                  "The image is encrypted with another key (" + body.path +
                      "). Give the key that it was written with.",
                  {{"file", body.path}});
  }
  const SealedAs as = sealer->as(seal_as, 0, 0, kFileSealed);
  if (!sealer->open(as, body.bytes.data(), body.bytes.size(), header.tag)) {
    throw_invalid(body.path, sizeof(FileHeader), "it was altered: decryption fails");
  }
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

bool is_well_formed(const ChunkEntry& entry, std::uint64_t end_of_last,
                    const ImageIndex& index) noexcept {
  if (entry.bytes == 0 || entry.bytes > kChunkBytes || entry.address < end_of_last ||
      entry.address + entry.bytes < entry.address || (entry.flags & ~kChunkFlags) != 0 ||
      entry.source >= index.sources.size()) {
    return false;
  }
  if ((entry.flags & kChunkZero) != 0) {
    return entry.source == 0 && entry.lane == 0 && entry.offset == 0 && entry.stored == 0 &&
           entry.checksum == Digest{} && (entry.flags & (kChunkCompressed | kChunkContent)) == 0;
  }
  const bool compressed = (entry.flags & kChunkCompressed) != 0;
  return entry.stored != 0 && entry.offset % kPageBytes == 0 && entry.offset >= kPageBytes &&
         entry.lane < index.sources[entry.source].lanes &&
         (compressed ? entry.stored < entry.bytes : entry.stored == entry.bytes);
}

void decode_chunks(const Body& body, ImageIndex& index) {
  ByteReader in(body.bytes, body.path, sizeof(FileHeader));
  const auto head = in.get<IndexHead>();
  if (head.sources > kMaxSources || !all_zero(head.reserved, sizeof(head.reserved))) {
    in.invalid("more folders than an image may refer to");
  }
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path own = fs::canonical(index.directory, error);
  if (error) throw_errno(error.value(), "finding", index.directory);
  for (std::uint32_t i = 0; i < head.sources; ++i) {
    ImageSource source;
    for (std::uint8_t& byte : source.image_id) byte = in.get<std::uint8_t>();
    source.lanes = in.get<std::uint32_t>();
    const auto pad = in.get<std::uint32_t>();
    const std::string name = in.text();
    if (source.lanes == 0 || source.lanes > kMaxLanes || pad != 0 || name.empty() ||
        name.find('\0') != std::string::npos) {
      in.invalid("the name of another image's folder is malformed");
    }
    source.directory = (own.parent_path().parent_path() / name).lexically_normal().string();
    index.sources.push_back(std::move(source));
  }
  for (std::uint32_t i = 0; i < head.dead; ++i) index.dead.push_back(in.get<DeadExtent>());
  std::uint64_t end = 0;
  for (std::uint64_t i = 0; i < body.header.count; ++i) {
    const auto entry = in.get<ChunkEntry>();
    if (!is_well_formed(entry, end, index)) in.invalid("a chunk is malformed or overlaps another");
    end = entry.address + entry.bytes;
    index.chunks.push_back(entry);
    index.device_bytes += entry.bytes;
  }
  in.expect_end();
}

struct Extent {
  std::uint64_t offset;
  std::uint64_t bytes;
  auto operator<=>(const Extent&) const = default;
};

FileHeader read_data_header(const ImageSource& source, std::uint32_t lane,
                            const std::string& path, std::uint64_t size) {
  if (size < kPageBytes) throw_invalid(path, size, "the file ends early");
  const File file = File::open(path, false);
  std::vector<std::uint8_t> page(kPageBytes);
  file.read_at(page.data(), page.size(), 0);
  FileHeader header{};
  std::memcpy(&header, page.data(), sizeof(header));
  check_header(header, kDataMagic, path, size);
  if (header.lane != lane || header.checksum != Digest{} ||
      std::memcmp(header.image_id, source.image_id, sizeof(header.image_id)) != 0 ||
      !all_zero(header.tag, sizeof(header.tag)) ||
      !all_zero(page.data() + sizeof(header), kPageBytes - sizeof(header))) {
    throw_invalid(path, 0, "the header does not belong to this image");
  }
  return header;
}

// Every byte of a data file of this folder belongs to an extent, and no extent to two places.
void check_own_lane(const FileHeader& header, const FileHeader& objects,
                    std::vector<Extent>& extents, const std::string& path) {
  if (header.count != extents.size() || header.seed != objects.seed ||
      header.flags != objects.flags ||
      std::memcmp(header.key_check, objects.key_check, sizeof(header.key_check)) != 0) {
    throw_invalid(path, 0, "the header does not belong to this image");
  }
  std::uint64_t end = kPageBytes;
  for (const Extent& extent : extents) {
    if (extent.offset != end) throw_invalid(path, end, "the file's extents do not fit `chunks`");
    end += extent.bytes;
  }
  if (end != header.bytes) throw_invalid(path, end, "the file's size does not fit `chunks`");
}

void check_data_files(ImageIndex& index, const FileHeader& objects) {
  std::vector<std::vector<std::vector<Extent>>> all(index.sources.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i].resize(index.sources[i].lanes);
  for (const ChunkEntry& entry : index.chunks) {
    if ((entry.flags & kChunkZero) != 0) continue;
    all[entry.source][entry.lane].push_back({entry.offset, padded(entry.stored)});
  }
  for (const DeadExtent& extent : index.dead) {
    if (extent.lane >= index.lanes) throw_invalid(index.directory, 0, "an unknown data file");
    all[0][extent.lane].push_back({extent.offset, padded(extent.stored)});
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::uint32_t lane = 0; lane < all[i].size(); ++lane) {
      std::vector<Extent>& extents = all[i][lane];
      if (i != 0 && extents.empty()) continue;
      std::sort(extents.begin(), extents.end());
      // Chunks with the same bytes may share an extent.
      extents.erase(std::unique(extents.begin(), extents.end()), extents.end());
      const std::string path = index.sources[i].directory + "/data-" + std::to_string(lane);
      const std::uint64_t size = File::open(path, false).size();
      const FileHeader header = read_data_header(index.sources[i], lane, path, size);
      if (i == 0) {
        check_own_lane(header, objects, extents, path);
        for (const Extent& extent : extents) index.stored_bytes += extent.bytes;
      } else if (extents.back().offset + extents.back().bytes > size) {
        throw_invalid(path, size, "the file ends before a chunk that lies in it");
      }
    }
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
  const auto refuse = [&](const char* what) {
    throw_invalid(path, sizeof(FileHeader) + next * sizeof(ChunkEntry), what);
  };
  for (const MemoryRange& range : wanted) {
    std::uint64_t at = range.address;
    while (at < range.address + range.bytes) {
      if (next == index.chunks.size() || index.chunks[next].address != at) {
        refuse("memory of a live allocation is missing");
      }
      at += index.chunks[next++].bytes;
    }
    if (at != range.address + range.bytes) refuse("a chunk leaves its allocation");
  }
  if (next != index.chunks.size()) refuse("a chunk of memory that is not allocated");
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

// All files of a folder were written together.
void check_together(const Body& body, const FileHeader& objects) {
  const FileHeader& header = body.header;
  if (std::memcmp(header.image_id, objects.image_id, sizeof(header.image_id)) != 0 ||
      header.seed != objects.seed || header.flags != objects.flags) {
    throw_invalid(body.path, offsetof(FileHeader, image_id), "the file belongs to another image");
  }
}

}  // namespace

const ChunkEntry* ImageIndex::find(std::uint64_t address) const noexcept {
  const auto found =
      std::lower_bound(chunks.begin(), chunks.end(), address,
                       [](const ChunkEntry& one, std::uint64_t at) { return one.address < at; });
  return found == chunks.end() || found->address != address ? nullptr : &*found;
}

ImageIndex read_index(const std::string& directory, const std::optional<ImageKey>& key) {
  ImageIndex index;
  index.directory = directory;
  Body objects = read_body(directory, "objects", kObjectsMagic);
  Body blobs = read_body(directory, "blobs", kBlobsMagic);
  Body chunks = read_body(directory, "chunks", kChunksMagic);
  for (const Body* body : {&blobs, &chunks}) check_together(*body, objects.header);
  std::optional<Sealer> sealer;
  if ((objects.header.flags & kFileSealed) != 0) {
    if (!key) {
      throw Failure(Code::permission,
                    "The image is encrypted (" + directory + "). Give its key with --key-file.",
                    {{"directory", directory}});
    }
    sealer.emplace(*key, objects.header.image_id);
    index.key = key;
  }
  open_body(objects, kSealObjects, sealer);
  open_body(blobs, kSealBlobs, sealer);
  open_body(chunks, kSealChunks, sealer);

  ByteReader reader(objects.bytes, objects.path, sizeof(FileHeader));
  index.snapshot = decode_objects(reader);
  if (objects.header.count != index.snapshot.objects.size()) {
    throw_invalid(objects.path, offsetof(FileHeader, count), "the number of objects does not fit");
  }
  index.snapshot.ranges = ranges_of(index.snapshot.allocations, objects.path);
  index.snapshot.blobs = decode_blobs(blobs);
  for (const SavedObject& object : index.snapshot.objects) {
    if (object.image != Digest{} && !index.snapshot.blobs.contains(object.image)) {
      throw_invalid(blobs.path, sizeof(FileHeader), "a code image is missing");
    }
  }
  index.seed = objects.header.seed;
  index.lanes = chunks.header.lane;
  ImageSource own;
  own.directory = directory;
  own.lanes = index.lanes;
  std::memcpy(own.image_id, objects.header.image_id, sizeof(own.image_id));
  index.sources.push_back(std::move(own));
  decode_chunks(chunks, index);
  check_coverage(index, chunks.path);
  check_data_files(index, objects.header);
  return index;
}

}  // namespace phos::executor
