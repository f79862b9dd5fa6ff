// SPDX-License-Identifier: Apache-2.0
// Images of made-up memory, written and read by the real writer and reader; and the same bytes
// written and read by nothing but threads and O_DIRECT, to compare with. For the benchmark and for
// tests; one JSON object on standard output.
//
//   image_tool write|raw-write|read|raw-read FOLDER [name=value ...]
//     bytes      of device memory (64 MiB); lanes (2); seed of the content (1)
//     zero       per cent of the chunks that are all zero (0)
//     changed    per cent of the chunks whose content depends on `version` (0)
//     version    (0); kind: random or text (random)
//     compress, content, share, parent, donor, key   as WriteOptions has them
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "executor/failure.h"
#include "executor/file.h"
#include "executor/image.h"
#include "executor/window.h"
#include "gen/call_ids.h"

namespace {

using namespace phos::executor;
using namespace phos;
using Clock = std::chrono::steady_clock;

struct Settings {
  std::string command;
  std::string folder;
  std::map<std::string, std::string> values;

  std::uint64_t number(const char* name, std::uint64_t fallback) const {
    const auto found = values.find(name);
    return found == values.end() ? fallback : std::strtoull(found->second.c_str(), nullptr, 10);
  }
  std::string text(const char* name) const {
    const auto found = values.find(name);
    return found == values.end() ? std::string() : found->second;
  }
  std::optional<ImageKey> key() const {
    if (text("key").empty()) return std::nullopt;
    ImageKey key{};
    if (!parse_hex(text("key"), key.data(), key.size())) {
      throw Failure(Code::usage, "key must be 64 hexadecimal digits.");
    }
    return key;
  }
};

std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
  return value ^ (value >> 31);
}

// The content of memory: a chunk is a stretch of a pool that its number and the settings choose.
class Content {
 public:
  explicit Content(const Settings& settings)
      : seed_(settings.number("seed", 1)),
        version_(settings.number("version", 0)),
        zero_(settings.number("zero", 0)),
        changed_(settings.number("changed", 0)),
        pool_(kPoolBytes + kChunkBytes) {
    const bool text = settings.text("kind") == "text";
    for (std::size_t i = 0; i < pool_.size(); i += 8) {
      std::uint64_t word = mix(i + 1);
      if (text) word &= 0x0303030303030303;
      std::memcpy(&pool_[i], &word, std::min<std::size_t>(8, pool_.size() - i));
    }
  }
  void fill(std::uint64_t chunk, std::uint8_t* to, std::size_t bytes) const {
    const std::uint64_t dice = mix(chunk * 31 + seed_);
    if (dice % 100 < zero_) {
      std::memset(to, 0, bytes);
      return;
    }
    const bool changes = (dice >> 32) % 100 < changed_;
    const std::uint64_t choice = mix(dice + (changes ? version_ : 0));
    std::memcpy(to, &pool_[choice % kPoolBytes], bytes);
  }

 private:
  static constexpr std::size_t kPoolBytes = std::size_t{16} << 20;
  std::uint64_t seed_;
  std::uint64_t version_;
  std::uint64_t zero_;
  std::uint64_t changed_;
  std::vector<std::uint8_t> pool_;
};

// Device memory as far as the writer and the reader can tell.
class MadeUpMemory : public MemoryPort {
 public:
  MadeUpMemory(const Content& content, std::uint32_t lanes) : content_(content), lanes_(lanes) {}
  std::uint8_t* buffer(std::uint32_t lane, std::size_t bytes) override {
    if (!lanes_[lane]) lanes_[lane] = make_page_buffer(bytes);
    return lanes_[lane].get();
  }
  void read(std::uint32_t, std::uint64_t address, void* to, std::size_t bytes) override {
    for (std::size_t at = 0; at < bytes; at += kChunkBytes) {
      content_.fill((address + at) / kChunkBytes, static_cast<std::uint8_t*>(to) + at,
                    std::min<std::size_t>(kChunkBytes, bytes - at));
    }
  }
  // Compares: what comes back must be what the settings say.
  void write(std::uint32_t, std::uint64_t address, const void* from, std::size_t bytes) override {
    std::vector<std::uint8_t> expected(kChunkBytes);
    for (std::size_t at = 0; at < bytes; at += kChunkBytes) {
      const std::size_t part = std::min<std::size_t>(kChunkBytes, bytes - at);
      content_.fill((address + at) / kChunkBytes, expected.data(), part);
      if (std::memcmp(expected.data(), static_cast<const std::uint8_t*>(from) + at, part) != 0) {
        throw Failure(Code::internal, "The memory at " + std::to_string(address + at) +
                                          " came back with another content.");
      }
    }
  }

 private:
  const Content& content_;
  std::vector<PageBuffer> lanes_;
};

Snapshot snapshot_of(std::uint64_t bytes) {
  Snapshot snapshot;
  snapshot.facts.window_base = device_window_base();
  snapshot.facts.cut = 4096;
  snapshot.facts.driver = "sim";
  snapshot.facts.device_name = "made up";
  snapshot.allocations = {{device_window_base(), bytes}};
  add_granules(snapshot.ranges, snapshot.allocations[0]);
  snapshot.variables = {{0x7000, 100, 0, "counter"}, {0x10000, 5000, 0, "table"}};
  SavedObject stream;
  stream.type = HandleType::stream;
  stream.wire = make_handle(static_cast<std::uint8_t>(HandleType::stream), 1, 2);
  stream.creation = 3;
  stream.create = {static_cast<std::uint16_t>(CallId::cuStreamCreate), 5, {1, 2, 3}};
  snapshot.objects = {stream};
  Placement use;
  use.order = 4;
  use.type = HandleType::kernel;
  use.wire = make_handle(static_cast<std::uint8_t>(HandleType::kernel), 1, 2);
  use.owner = 3;
  Placement change;
  change.order = 5;
  change.kind = PlacementKind::change;
  change.command = {static_cast<std::uint16_t>(CallId::cuCtxSetLimit), 5, {4, 5}, 6};
  snapshot.placements = {use, change};
  const auto blob = std::make_shared<const std::vector<std::uint8_t>>(1000, std::uint8_t{42});
  snapshot.blobs[digest_of(blob->data(), blob->size())] = blob;
  return snapshot;
}

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void write(const Settings& settings) {
  WriteOptions options;
  options.lanes = static_cast<std::uint32_t>(settings.number("lanes", 2));
  options.compress = static_cast<int>(settings.number("compress", 0));
  options.content = settings.number("content", 0) != 0;
  options.share = settings.number("share", 0) != 0;
  options.parent = settings.text("parent");
  if (!settings.text("donor").empty()) options.donors = {settings.text("donor")};
  options.key = settings.key();
  const Content content(settings);
  MadeUpMemory memory(content, options.lanes);
  const Snapshot snapshot = snapshot_of(settings.number("bytes", 64U << 20));
  ::mkdir(settings.folder.c_str(), 0700);
  const auto start = Clock::now();
  const SaveResult saved = write_image(settings.folder, snapshot, memory, options, {});
  std::printf("{\"ms\":%.3f,\"syncMs\":%.3f,\"deviceBytes\":%llu,\"writtenBytes\":%llu,"
              "\"chunks\":%llu,\"zeroChunks\":%llu,\"parentChunks\":%llu,\"sharedChunks\":%llu}\n",
              ms_since(start), saved.sync_ms, static_cast<unsigned long long>(saved.device_bytes),
              static_cast<unsigned long long>(saved.written_bytes),
              static_cast<unsigned long long>(saved.chunks),
              static_cast<unsigned long long>(saved.zero_chunks),
              static_cast<unsigned long long>(saved.parent_chunks),
              static_cast<unsigned long long>(saved.shared_chunks));
}

void read(const Settings& settings) {
  const auto lanes = static_cast<std::uint32_t>(settings.number("lanes", 2));
  // `bare`: nothing is compared but the checksums, as when a restore reads.
  const Content content(settings);
  MadeUpMemory memory(content, lanes);
  const auto start = Clock::now();
  const ImageIndex index = read_index(settings.folder, settings.key());
  const bool bare = settings.number("bare", 0) != 0;
  const std::uint64_t bytes = read_chunks(index, bare ? nullptr : &memory, lanes, !bare, {});
  std::printf("{\"ms\":%.3f,\"readBytes\":%llu,\"deviceBytes\":%llu}\n", ms_since(start),
              static_cast<unsigned long long>(bytes),
              static_cast<unsigned long long>(index.device_bytes));
}

// What the disk can do: the lanes' files, nothing computed.
void raw(const Settings& settings, bool writes) {
  const auto lanes = static_cast<std::uint32_t>(settings.number("lanes", 2));
  const std::uint64_t total = settings.number("bytes", 64U << 20);
  const Content content(settings);
  MadeUpMemory memory(content, lanes);
  ::mkdir(settings.folder.c_str(), 0700);
  std::atomic<std::uint64_t> next{0};
  const auto start = Clock::now();
  run_lanes(lanes, [&](std::uint32_t lane) {
    const std::string path = settings.folder + "/data-" + std::to_string(lane);
    std::uint8_t* buffer = memory.buffer(lane, kLaneBytes);
    if (writes) {
      const File file = File::create(path, true);
      for (std::uint64_t end = 0;;) {
        const std::uint64_t at = next.fetch_add(kLaneBytes);
        if (at >= total) break;
        const std::uint64_t bytes = std::min<std::uint64_t>(kLaneBytes, total - at);
        memory.read(lane, at, buffer, bytes);
        file.write_at(buffer, bytes, end);
        end += bytes;
      }
      file.sync();
      return;
    }
    const File file = File::open(path, true);
    const std::uint64_t size = file.size();
    for (std::uint64_t at = 0; at < size; at += kLaneBytes) {
      file.read_at(buffer, std::min<std::uint64_t>(kLaneBytes, size - at), at);
    }
  });
  std::printf("{\"ms\":%.3f,\"bytes\":%llu}\n", ms_since(start),
              static_cast<unsigned long long>(total));
}

}  // namespace

int main(int count, char** words) {
  Settings settings;
  if (count >= 3) {
    settings.command = words[1];
    settings.folder = words[2];
  }
  for (int i = 3; i < count; ++i) {
    const std::string word = words[i];
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) continue;
    settings.values[word.substr(0, equals)] = word.substr(equals + 1);
  }
  try {
    if (settings.command == "write") {
      write(settings);
    } else if (settings.command == "read") {
      read(settings);
    } else if (settings.command == "raw-write" || settings.command == "raw-read") {
      raw(settings, settings.command == "raw-write");
    } else {
      std::fprintf(stderr, "usage: image_tool write|raw-write|read|raw-read FOLDER [name=value]\n");
      return 2;
    }
  } catch (const Failure& failure) {
    std::fprintf(stderr, "image_tool: %s: %s\n", error_code_name(failure.code()), failure.what());
    return 1;
  }
  return 0;
}
