// SPDX-License-Identifier: Apache-2.0
// The writer fed by a source of its own, as the engine feeds it: pieces in any order, some of them
// again, some said to be as in the parent.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <map>

#include "executor/failure.h"
#include "executor/file.h"
#include "executor/image.h"
#include "executor/window.h"

namespace phos::executor {
namespace {

namespace fs = std::filesystem;

// One chunk with one byte everywhere; 0 < fill: data, else as in the parent.
struct Step {
  std::uint64_t chunk;
  int fill;
};

class ListSource : public ChunkSource {
 public:
  explicit ListSource(std::vector<Step> steps) : steps_(std::move(steps)) {}
  bool next(std::uint32_t, Piece& piece) override {
    if (at_ == steps_.size()) return false;
    const Step& step = steps_[at_++];
    piece = Piece{};
    piece.address = device_window_base() + step.chunk * kChunkBytes;
    piece.bytes = kChunkBytes;
    changes_.bytes[0] = static_cast<std::uint8_t>(step.fill);
    piece.change = &changes_;
    if (step.fill < 0) return true;
    if (!buffer_) buffer_ = make_page_buffer(kChunkBytes + kPieceSlack);
    std::memset(buffer_.get(), step.fill, kChunkBytes);
    piece.data = buffer_.get();
    return true;
  }
  void release(std::uint32_t, const Piece&) override { ++released; }
  std::size_t released = 0;

 private:
  std::vector<Step> steps_;
  std::size_t at_ = 0;
  PageBuffer buffer_;
  Digest changes_;
};

// The first byte of every chunk that is read.
class FirstBytes : public MemoryPort {
 public:
  std::map<std::uint64_t, int> seen;
  std::uint8_t* buffer(std::uint32_t, std::size_t bytes) override {
    if (!buffer_) buffer_ = make_page_buffer(bytes);
    return buffer_.get();
  }
  void read(std::uint32_t, std::uint64_t, void*, std::size_t) override {}
  void write(std::uint32_t, std::uint64_t address, const void* from, std::size_t bytes) override {
    for (std::size_t at = 0; at < bytes; at += kChunkBytes) {
      seen[(address + at - device_window_base()) / kChunkBytes] =
          static_cast<const std::uint8_t*>(from)[at];
    }
  }

 private:
  PageBuffer buffer_;
};

class WriterTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/phos-writer-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    snapshot_.facts.window_base = device_window_base();
    snapshot_.allocations = {{device_window_base(), 3 * kChunkBytes}};
    add_granules(snapshot_.ranges, snapshot_.allocations[0]);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string place(const std::string& image) {
    const std::string path = folder_ + "/" + image + "/gpu-0";
    fs::create_directories(path);
    return path;
  }
  SaveResult write(const std::string& directory, std::vector<Step> steps,
                   WriteOptions options = {}) {
    ImageWriter writer(directory, std::move(options));
    ListSource source(std::move(steps));
    writer.drain(source, 0, {});
    return writer.finish(snapshot_);
  }
  std::map<std::uint64_t, int> read(const std::string& directory) {
    FirstBytes memory;
    read_chunks(read_index(directory), &memory, 1, true, {});
    return memory.seen;
  }
  std::string folder_;
  Snapshot snapshot_;
};

using Seen = std::map<std::uint64_t, int>;

TEST_F(WriterTest, KeepsTheLastOfWhatCameTwice) {
  const std::string one = place("one");
  const SaveResult saved = write(one, {{2, 7}, {0, 1}, {1, 0}, {0, 2}, {0, 3}});
  EXPECT_EQ(saved.chunks, 3U);
  EXPECT_EQ(saved.zero_chunks, 1U);
  EXPECT_EQ(read(one), (Seen{{0, 3}, {1, 0}, {2, 7}}));
  const ImageIndex index = read_index(one);
  EXPECT_EQ(index.dead.size(), 2U);
  EXPECT_EQ(index.find(device_window_base())->change.bytes[0], 3);
}

TEST_F(WriterTest, TakesFromTheParentWhatNobodyRead) {
  const std::string one = place("one");
  const std::string two = place("two");
  const std::string three = place("three");
  write(one, {{0, 1}, {1, 0}, {2, 7}});
  WriteOptions options;
  options.parent = one;
  const SaveResult saved = write(two, {{0, -1}, {1, -1}, {2, 8}}, options);
  EXPECT_EQ(saved.parent_chunks, 2U);
  EXPECT_EQ(saved.written_bytes, kChunkBytes);
  EXPECT_EQ(read(two), (Seen{{0, 1}, {1, 0}, {2, 8}}));
  // What the parent itself refers to is referred to where it lies.
  options.parent = two;
  EXPECT_EQ(write(three, {{0, 1}, {1, 5}, {2, -1}}, options).parent_chunks, 2U);
  EXPECT_EQ(read(three), (Seen{{0, 1}, {1, 5}, {2, 8}}));
  EXPECT_EQ(read_index(three).sources.size(), 3U);
}

TEST_F(WriterTest, StoresTheSameBytesOnce) {
  const std::string one = place("one");
  WriteOptions options;
  options.share = true;
  const SaveResult saved = write(one, {{0, 9}, {1, 9}, {2, 9}}, options);
  EXPECT_EQ(saved.shared_chunks, 2U);
  EXPECT_EQ(saved.written_bytes, kChunkBytes);
  EXPECT_EQ(read(one), (Seen{{0, 9}, {1, 9}, {2, 9}}));
}

TEST_F(WriterTest, RefusesWhatTheParentCannotHave) {
  try {
    write(place("one"), {{0, -1}, {1, 0}, {2, 0}});
    FAIL() << "there is no parent";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.code(), Code::internal);
  }
}

TEST_F(WriterTest, RefusesAnImageWithMemoryMissing) {
  const std::string one = place("one");
  write(one, {{0, 1}, {2, 7}});
  try {
    read_index(one);
    FAIL() << "a chunk is missing";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.code(), Code::image_invalid);
  }
}

}  // namespace
}  // namespace phos::executor
