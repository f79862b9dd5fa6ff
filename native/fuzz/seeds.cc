// SPDX-License-Identifier: Apache-2.0
// Writes the inputs that fuzzing begins with, where they are not files that exist elsewhere in the
// tree: what real programs put into their rings, small images, and a handover as it should be.
//   fuzz_seeds CORPUS
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "../test/executor/programs.h"
#include "executor/image.h"
#include "executor/window.h"
#include "target.h"

namespace {

using namespace phos;
namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

template <class T>
void put(Bytes& bytes, T value) {
  const auto* raw = reinterpret_cast<const std::uint8_t*>(&value);
  bytes.insert(bytes.end(), raw, raw + sizeof(T));
}

void keep(const fs::path& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  fuzz::require(file.good(), "a seed is written");
}

// The records of a ring, in the form that dispatch.cc reads.
Bytes records_of(const Bytes& ring) {
  RingHeader header{};
  std::memcpy(static_cast<void*>(&header), ring.data(), sizeof(header));
  Bytes seed{0};
  for (std::uint64_t at = 0; at < header.head.load();) {
    RecordHeader record;
    const std::uint8_t* place = ring.data() + header.data_offset + at;
    std::memcpy(&record, place, sizeof(record));
    const auto payload = static_cast<std::uint16_t>(record.bytes - sizeof(record));
    put(seed, record.op);
    put(seed, static_cast<std::uint8_t>(record.flags & kRecordSync));
    put(seed, static_cast<std::uint8_t>(record.reply_slot));
    put(seed, payload);
    seed.insert(seed.end(), place + sizeof(record), place + sizeof(record) + payload);
    at += record.bytes;
  }
  return seed;
}

void rings(const fs::path& folder) {
  for (const test::Program& program : test::all_programs()) {
    test::SimClient client;
    for (const test::Step& step : program.setup) step(client);
    test::run_steps(client, program, 0, program.steps.size());
    client.synchronise();
    Bytes seed = records_of(client.ring_copy());
    keep(folder / program.name, seed);
    seed[0] = 1;  // with somebody who writes meanwhile
    keep(folder / (program.name + "-raced"), seed);
  }
}

// Bytes that follow from their address; most of them are zero.
class Pattern : public executor::MemoryPort {
 public:
  std::uint8_t* buffer(std::uint32_t, std::size_t bytes) override {
    if (!buffer_) buffer_ = executor::make_page_buffer(bytes);
    return buffer_.get();
  }
  void read(std::uint32_t, std::uint64_t address, void* to, std::size_t bytes) override {
    std::memset(to, 0, bytes);
    if (address % kChunkBytes == 0) std::memset(to, 7, std::min<std::size_t>(bytes, 100));
  }
  void write(std::uint32_t, std::uint64_t, const void*, std::size_t) override {}

 private:
  executor::PageBuffer buffer_;
};

executor::Snapshot small_snapshot() {
  executor::Snapshot snapshot;
  const std::uint64_t base = executor::device_window_base();
  snapshot.facts.window_base = base;
  snapshot.facts.cut = 4096;
  snapshot.facts.driver = "sim";
  snapshot.facts.device_name = "sim";
  snapshot.allocations = {{base, 100}, {base + 4 * kChunkBytes, 3U << 20}};
  for (const executor::Allocation& one : snapshot.allocations) {
    executor::add_granules(snapshot.ranges, one);
  }
  snapshot.variables = {{0x7000, 64, 0, "counter"}};
  executor::SavedObject object;
  object.type = HandleType::stream;
  object.wire = test::wire(HandleType::stream, 2);
  object.creation = 3;
  object.parents = {7};
  object.create = {static_cast<std::uint16_t>(CallId::cuStreamCreate), 5, {1, 2, 3}};
  object.mutations = {{static_cast<std::uint16_t>(CallId::cuStreamSetAttribute), 5, {9}}};
  snapshot.objects = {object};
  const Bytes code(40, 5);
  snapshot.blobs[executor::digest_of(code.data(), code.size())] =
      std::make_shared<const Bytes>(code);
  return snapshot;
}

void image(const fs::path& path, int compress) {
  const fs::path folder = fs::temp_directory_path() / ("phos-seed-" + std::to_string(compress));
  fs::remove_all(folder);
  fs::create_directory(folder);
  Pattern memory;
  executor::WriteOptions options;
  options.compress = compress;
  options.content = true;
  executor::Snapshot snapshot = small_snapshot();
  if (compress == 0) {  // or it would be some MiB: only the variable
    snapshot.allocations.clear();
    snapshot.ranges.clear();
  }
  executor::write_image(folder, snapshot, memory, options, {});
  Bytes seed;
  for (const char* name : {"objects", "blobs", "chunks", "data-0"}) {
    std::ifstream file(folder / name, std::ios::binary);
    Bytes bytes{std::istreambuf_iterator<char>(file), {}};
    while (std::strcmp(name, "data-0") == 0 && bytes.back() == 0) bytes.pop_back();
    seed.push_back(0);
    put(seed, static_cast<std::uint16_t>(bytes.size()));
    seed.insert(seed.end(), bytes.begin(), bytes.end());
  }
  keep(path, seed);
  fs::remove_all(folder);
}

void message(Bytes& seed, std::uint8_t choices, wire::Type type, std::uint8_t fd,
             const Bytes& body) {
  for (const auto byte : {choices, static_cast<std::uint8_t>(type), fd,
                          static_cast<std::uint8_t>(body.size())}) {
    seed.push_back(byte);
  }
  seed.insert(seed.end(), body.begin(), body.end());
}

void handovers(const fs::path& folder) {
  Bytes arena;
  put(arena, executor::arena_window_base());
  put(arena, std::uint64_t{1U << 20});
  put(arena, std::uint64_t{2});
  Bytes handover(48, 0);
  Bytes seed;
  message(seed, 3, wire::Type::handover, 5, handover);
  message(seed, 1, wire::Type::arena, 5, arena);
  message(seed, 1, wire::Type::release_arena, 0, arena);
  keep(folder / "handover", seed);
  Bytes later;
  handover[44] = 1;  // an arena is to come before it is answered
  message(later, 3, wire::Type::handover, 5, handover);
  message(later, 1, wire::Type::arena, 5, arena);
  message(later, 5, wire::Type::arena, 5, arena);
  keep(folder / "handover-with-arena", later);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const fs::path corpus = argv[1];
  for (const char* name : {"dispatch", "image", "attach"}) fs::create_directories(corpus / name);
  rings(corpus / "dispatch");
  image(corpus / "image/plain", 0);
  image(corpus / "image/compressed", 3);
  handovers(corpus / "attach");
  return 0;
}
