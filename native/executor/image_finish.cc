// SPDX-License-Identifier: Apache-2.0
// A writer's beginning and end: the folders it may refer to, and the files that describe what the
// lanes wrote.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "executor/image_writer.h"

namespace phos::executor {

namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

FileHeader header_of(const WriterState& state, const char* magic) {
  FileHeader header{};
  std::memcpy(header.magic, magic, sizeof(header.magic));
  header.version = kImageVersion;
  header.seed = state.seed;
  std::memcpy(header.image_id, state.image_id, sizeof(header.image_id));
  if (state.sealer) {
    header.flags = kFileSealed;
    std::memcpy(header.key_check, state.sealer->key_check().data(), sizeof(header.key_check));
  }
  return header;
}

File write_body(WriterState& state, const char* name, FileHeader header, std::uint32_t seal_as,
                std::vector<std::uint8_t> body, SaveResult& result) {
  header.bytes = sizeof(header) + body.size();
  if (state.sealer) {
    const SealedAs as = state.sealer->as(seal_as, 0, 0, kFileSealed);
    state.sealer->seal(as, body.data(), body.size(), header.tag);
  }
  header.checksum = digest_of(body.data(), body.size());
  File file = File::create(state.directory + "/" + name, false);
  file.write_at(&header, sizeof(header), 0);
  file.write_at(body.data(), body.size(), sizeof(header));
  body.insert(body.begin(), reinterpret_cast<const std::uint8_t*>(&header),
              reinterpret_cast<const std::uint8_t*>(&header) + sizeof(header));
  result.files.push_back({name, body.size(), hex_of(digest_of(body.data(), body.size()))});
  return file;
}

std::vector<std::uint8_t> encode_blobs(const Snapshot& snapshot) {
  ByteWriter out;
  for (const auto& [digest, blob] : snapshot.blobs) {
    out.put(digest);
    out.bytes(*blob);
  }
  return out.take();
}

void finish_lane(WriterState& state, std::uint32_t number, std::uint64_t extents) {
  Lane& lane = state.lanes[number];
  PageBuffer page = make_page_buffer(kPageBytes);
  std::memset(page.get(), 0, kPageBytes);
  FileHeader header = header_of(state, kDataMagic);
  header.lane = number;
  header.bytes = lane.end;
  header.count = extents;
  std::memcpy(page.get(), &header, sizeof(header));
  lane.file.write_at(page.get(), kPageBytes, 0);
}

// A source's folder as the index names it: relative to the folder that holds the image, so that
// images which refer to each other can be moved together.
std::string name_of_source(const WriterState& state, const ImageSource& source) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path own = fs::canonical(state.directory, error);
  const fs::path other = error ? fs::path() : fs::canonical(source.directory, error);
  if (error) throw_errno(error.value(), "finding", source.directory);
  return other.lexically_relative(own.parent_path().parent_path()).string();
}

struct Described {
  std::vector<ChunkEntry> chunks;          // ascending
  std::vector<DeadExtent> dead;
  std::vector<std::uint64_t> extents;      // of each lane
};

// The chunks that count, and the extents that no chunk needs any more.
Described describe(WriterState& state) {
  std::vector<WrittenChunk> all;
  for (Lane& lane : state.lanes) {
    all.insert(all.end(), lane.chunks.begin(), lane.chunks.end());
    lane.chunks.clear();
  }
  std::sort(all.begin(), all.end(), [](const WrittenChunk& a, const WrittenChunk& b) {
    return a.entry.address != b.entry.address ? a.entry.address < b.entry.address
                                              : a.sequence > b.sequence;
  });
  Described result;
  result.extents.resize(state.lanes.size());
  std::set<std::pair<std::uint16_t, std::uint64_t>> live;
  std::vector<ChunkEntry> replaced;
  for (const WrittenChunk& chunk : all) {
    const ChunkEntry& entry = chunk.entry;
    const bool newest = result.chunks.empty() || result.chunks.back().address != entry.address;
    if (newest) result.chunks.push_back(entry);
    if (entry.source != 0 || (entry.flags & kChunkZero) != 0) continue;
    if (!newest) {
      replaced.push_back(entry);
    } else if (live.emplace(entry.lane, entry.offset).second) {
      ++result.extents[entry.lane];
    }
  }
  for (const ChunkEntry& entry : replaced) {
    if (!live.emplace(entry.lane, entry.offset).second) continue;
    ++result.extents[entry.lane];
    result.dead.push_back({entry.offset, entry.stored, entry.lane});
  }
  return result;
}

std::vector<std::uint8_t> encode_chunks(const WriterState& state, Described& described) {
  // Only folders that are needed are named, in the order in which they were found.
  std::vector<std::uint16_t> numbers(state.sources.size() + 1);
  for (const ChunkEntry& entry : described.chunks) numbers[entry.source] = 1;
  numbers[0] = 0;
  IndexHead head{};
  for (std::size_t i = 1; i < numbers.size(); ++i) {
    if (numbers[i] != 0) numbers[i] = static_cast<std::uint16_t>(++head.sources);
  }
  head.dead = static_cast<std::uint32_t>(described.dead.size());
  ByteWriter out;
  out.put(head);
  for (std::size_t i = 1; i < numbers.size(); ++i) {
    if (numbers[i] == 0) continue;
    const ImageSource& source = state.sources[i - 1];
    for (const std::uint8_t byte : source.image_id) out.put(byte);
    out.put(source.lanes);
    out.put(std::uint32_t{0});
    out.text(name_of_source(state, source));
  }
  for (const DeadExtent& extent : described.dead) out.put(extent);
  for (ChunkEntry& entry : described.chunks) {
    entry.source = numbers[entry.source];
    out.put(entry);
  }
  return out.take();
}

void add_known(WriterState& state, const ImageIndex& index,
               const std::vector<std::uint16_t>& numbers) {
  for (const ChunkEntry& entry : index.chunks) {
    if ((entry.flags & kChunkContent) == 0 || numbers[entry.source] == 0 ||
        (entry.flags & kChunkZero) != 0) {
      continue;
    }
    state.known.try_emplace(entry.content, KnownContent{entry, numbers[entry.source]});
  }
}

std::vector<std::uint16_t> add_sources(WriterState& state, const ImageIndex& index) {
  std::vector<std::uint16_t> numbers;
  for (const ImageSource& source : index.sources) numbers.push_back(state.add_source(source));
  return numbers;
}

}  // namespace

void WriterState::refer(ChunkEntry& entry, const ChunkEntry& other,
                        std::uint16_t to) const noexcept {
  entry.source = to;
  entry.lane = other.lane;
  entry.offset = other.offset;
  entry.stored = other.stored;
  entry.flags = (entry.flags & ~kChunkCompressed) | (other.flags & kChunkCompressed);
  std::memcpy(entry.tag, other.tag, sizeof(entry.tag));
}

bool WriterState::share(ChunkEntry& entry) {
  if (!options.share) return false;
  const std::lock_guard lock(mutex);
  const auto found = known.find(entry.content);
  if (found == known.end() || found->second.entry.bytes != entry.bytes) return false;
  refer(entry, found->second.entry, found->second.source);
  return true;
}

void WriterState::offer(const ChunkEntry& entry) {
  if (!options.share) return;
  const std::lock_guard lock(mutex);
  known.try_emplace(entry.content, KnownContent{entry, 0});
}

std::uint16_t WriterState::add_source(const ImageSource& source) {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (std::memcmp(sources[i].image_id, source.image_id, sizeof(source.image_id)) == 0) {
      return static_cast<std::uint16_t>(i + 1);
    }
  }
  if (sources.size() == kMaxSources) return 0;
  sources.push_back(source);
  return static_cast<std::uint16_t>(sources.size());
}

ImageWriter::ImageWriter(const std::string& directory, WriteOptions options)
    : state_(std::make_unique<State>()) {
  WriterState& state = *state_;
  state.started = Clock::now();
  state.directory = directory;
  state.options = std::move(options);
  state.options.lanes = std::clamp(state.options.lanes, 1U, kMaxLanes);
  random_bytes(state.image_id, sizeof(state.image_id));
  random_bytes(&state.seed, sizeof(state.seed));
  if (state.options.seed) state.seed = *state.options.seed;
  if (state.options.key) state.sealer.emplace(*state.options.key, state.image_id);
  if (!state.options.parent.empty()) {
    state.parent = read_index(state.options.parent, state.options.key);
    state.seed = state.parent->seed;
    state.parent_sources = add_sources(state, *state.parent);
    if (std::count(state.parent_sources.begin(), state.parent_sources.end(), 0) != 0) {
      throw Failure(Code::conflict,
                    "The parent image refers to as many others as one may; compact it first.",
                    {{"parent", state.options.parent}});
    }
    if (state.options.share) add_known(state, *state.parent, state.parent_sources);
  }
  for (const std::string& donor : state.options.donors) {
    const ImageIndex index = read_index(donor, state.options.key);
    add_known(state, index, add_sources(state, index));
  }
  state.lanes.resize(state.options.lanes);
  for (std::uint32_t i = 0; i < state.options.lanes; ++i) {
    state.lanes[i].file = File::create(directory + "/data-" + std::to_string(i), true);
  }
}

ImageWriter::~ImageWriter() = default;

const ImageIndex* ImageWriter::parent() const noexcept {
  return state_->parent ? &*state_->parent : nullptr;
}

std::uint64_t ImageWriter::seed() const noexcept { return state_->seed; }

SaveResult ImageWriter::finish(const Snapshot& snapshot) {
  WriterState& state = *state_;
  SaveResult result;
  result.cut = snapshot.facts.cut;
  result.objects = snapshot.objects.size();
  Described described = describe(state);
  result.chunks = described.chunks.size();
  for (const ChunkEntry& entry : described.chunks) {
    result.device_bytes += entry.bytes;
    if ((entry.flags & kChunkZero) != 0) ++result.zero_chunks;
  }
  std::vector<File> files;
  auto start = Clock::now();
  files.push_back(write_body(state, "objects", [&] {
    FileHeader header = header_of(state, kObjectsMagic);
    header.count = snapshot.objects.size();
    return header;
  }(), kSealObjects, encode_objects(snapshot), result));
  FileHeader blobs = header_of(state, kBlobsMagic);
  blobs.count = snapshot.blobs.size();
  files.push_back(write_body(state, "blobs", blobs, kSealBlobs, encode_blobs(snapshot), result));
  result.objects_ms = ms_since(start);
  FileHeader chunks = header_of(state, kChunksMagic);
  chunks.count = described.chunks.size();
  chunks.lane = state.options.lanes;
  files.push_back(write_body(state, "chunks", chunks, kSealChunks,
                             encode_chunks(state, described), result));
  for (std::uint32_t i = 0; i < state.options.lanes; ++i) {
    finish_lane(state, i, described.extents[i]);
    const Lane& lane = state.lanes[i];
    result.written_bytes += lane.end - kPageBytes;
    result.parent_chunks += lane.parent_chunks;
    result.shared_chunks += lane.shared_chunks;
    result.files.push_back({"data-" + std::to_string(i), lane.end, ""});
  }
  result.copy_ms = ms_since(state.started) - result.objects_ms;
  start = Clock::now();
  for (const File& file : files) file.sync();
  run_lanes(state.options.lanes, [&](std::uint32_t lane) { state.lanes[lane].file.sync(); });
  sync_directory(state.directory);
  for (File& file : files) file.close();
  for (Lane& lane : state.lanes) lane.file.close();
  result.sync_ms = ms_since(start);
  return result;
}

}  // namespace phos::executor
