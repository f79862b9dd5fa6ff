// SPDX-License-Identifier: Apache-2.0
// The image's files: what is written is read back; what is altered, cut short or of another
// version is refused by name; a full or broken disk is a typed failure at every write.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "executor/failure.h"
#include "executor/fault.h"
#include "executor/file.h"
#include "executor/image.h"
#include "executor/window.h"
#include "gen/call_ids.h"

namespace phos::executor {
namespace {

namespace fs = std::filesystem;

// Device memory as a map from addresses to bytes.
class FakeMemory : public MemoryPort {
 public:
  std::map<std::uint64_t, std::uint8_t> bytes;
  std::uint8_t* buffer(std::uint32_t lane, std::size_t size) override {
    if (!buffers_[lane]) buffers_[lane] = make_page_buffer(size);
    return buffers_[lane].get();
  }
  void read(std::uint32_t, std::uint64_t address, void* to, std::size_t size) override {
    std::memset(to, 0, size);
    const std::lock_guard lock(mutex_);
    for (auto it = bytes.lower_bound(address); it != bytes.end() && it->first < address + size;
         ++it) {
      static_cast<std::uint8_t*>(to)[it->first - address] = it->second;
    }
  }
  void write(std::uint32_t, std::uint64_t address, const void* from, std::size_t size) override {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < size; ++i) {
      const std::uint8_t byte = static_cast<const std::uint8_t*>(from)[i];
      if (byte != 0) bytes[address + i] = byte;
    }
  }

 private:
  std::mutex mutex_;
  std::array<PageBuffer, kMaxLanes> buffers_;  // each of one lane's thread
};

class ImageTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/phos-image-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    options_.lanes = 2;
    reading_.lanes = 2;
    reading_.content = true;
    const std::uint64_t base = device_window_base();
    snapshot_.facts.window_base = base;
    snapshot_.facts.cut = 4096;
    snapshot_.facts.driver = "fake";
    snapshot_.facts.device_name = "fake device";
    snapshot_.allocations = {{base, 100}, {base + 512, 100}, {base + 4 * kChunkBytes, 9U << 20}};
    for (const Allocation& allocation : snapshot_.allocations) {
      add_granules(snapshot_.ranges, allocation);
    }
    snapshot_.variables = {{0x7000, 100, 0, "counter"}};
    SavedObject object;
    object.type = HandleType::stream;
    object.wire = make_handle(static_cast<std::uint8_t>(HandleType::stream), 1, 2);
    object.creation = 3;
    object.parents = {7};
    object.create = {static_cast<std::uint16_t>(CallId::cuStreamCreate), 5, {1, 2, 3}};
    object.mutations = {{static_cast<std::uint16_t>(CallId::cuStreamSetAttribute), 5, {9}}};
    snapshot_.objects = {object};
    const auto blob = std::make_shared<const std::vector<std::uint8_t>>(1000, std::uint8_t{42});
    snapshot_.blobs[digest_of(blob->data(), blob->size())] = blob;
    memory_.bytes = {{base, 1}, {base + 4 * kChunkBytes + 5, 2}, {base + 8 * kChunkBytes, 3},
                     {0x7000 + 99, 4}};
  }
  void TearDown() override {
    set_faults(nullptr);
    fs::remove_all(folder_);
  }
  SaveResult save() { return write_image(folder_, snapshot_, memory_, options_, {}); }
  // The code that reading the folder fails with, "" when it does not.
  std::string code_of_reading() {
    try {
      verify_image(folder_, reading_, {});
      return "";
    } catch (const Failure& failure) {
      return error_code_name(failure.code());
    }
  }
  void flip(const std::string& name, std::uint64_t offset) {
    std::fstream file(folder_ + "/" + name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get() ^ 0x20);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(byte);
  }

  std::string folder_;
  WriteOptions options_;
  ReadOptions reading_;
  Snapshot snapshot_;
  FakeMemory memory_;
};

TEST_F(ImageTest, ReadsBackWhatWasWritten) {
  std::atomic<std::uint64_t> last{0};
  const SaveResult saved = write_image(folder_, snapshot_, memory_, options_,
                                       [&](std::uint64_t, std::uint64_t total) { last = total; });
  EXPECT_EQ(saved.device_bytes, 6 * kChunkBytes + 100);
  EXPECT_EQ(last.load(), saved.device_bytes);
  EXPECT_EQ(saved.chunks, 7U);
  EXPECT_EQ(saved.zero_chunks, 3U);
  const ImageIndex index = read_index(folder_);
  EXPECT_EQ(index.snapshot.facts.cut, 4096U);
  EXPECT_EQ(index.snapshot.facts.device_name, "fake device");
  ASSERT_EQ(index.snapshot.objects.size(), 1U);
  EXPECT_EQ(index.snapshot.objects[0].create, snapshot_.objects[0].create);
  EXPECT_EQ(index.snapshot.objects[0].mutations, snapshot_.objects[0].mutations);
  EXPECT_EQ(index.snapshot.objects[0].parents, snapshot_.objects[0].parents);
  EXPECT_EQ(index.snapshot.variables[0].name, "counter");
  EXPECT_EQ(index.snapshot.blobs.size(), 1U);
  FakeMemory restored;
  read_chunks(index, &restored, 2, true, {});
  EXPECT_EQ(restored.bytes, memory_.bytes);
  EXPECT_EQ(code_of_reading(), "");
}

TEST_F(ImageTest, StoresNothingForZeroChunks) {
  memory_.bytes.clear();
  EXPECT_EQ(save().written_bytes, 0U);
  EXPECT_EQ(code_of_reading(), "");
}

TEST_F(ImageTest, RefusesEveryAlteredByte) {
  save();
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename();
    const std::uint64_t size = entry.file_size();
    // Every byte of the small files' start, then samples.
    for (std::uint64_t at = 0; at < size; at += at < 256 ? 1 : size / 37 + 1) {
      flip(name, at);
      EXPECT_NE(code_of_reading(), "") << name << " at " << at;
      flip(name, at);
    }
  }
  EXPECT_EQ(code_of_reading(), "");
}

TEST_F(ImageTest, RefusesEveryTruncatedAndMissingFile) {
  save();
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const fs::path path = entry.path();
    const fs::path copy = folder_ + "-copy";
    fs::copy_file(path, copy, fs::copy_options::overwrite_existing);
    const std::uint64_t size = fs::file_size(path);
    for (const std::uint64_t left : {size - 1, size / 2, std::uint64_t{10}, std::uint64_t{0}}) {
      fs::resize_file(path, left);
      EXPECT_EQ(code_of_reading(), "IMAGE_INVALID") << path << " with " << left;
    }
    fs::remove(path);
    EXPECT_EQ(code_of_reading(), "IMAGE_INVALID") << path << " missing";
    fs::rename(copy, path);
  }
  EXPECT_EQ(code_of_reading(), "");
}

TEST_F(ImageTest, RefusesFilesOfAnotherImage) {
  save();
  const fs::path kept = folder_ + "-kept";
  fs::copy_file(folder_ + "/data-0", kept, fs::copy_options::overwrite_existing);
  fs::remove_all(folder_);
  fs::create_directory(folder_);
  save();
  fs::rename(kept, folder_ + "/data-0");
  EXPECT_EQ(code_of_reading(), "IMAGE_INVALID");
}

TEST_F(ImageTest, RefusesAnotherVersionAsUnsupported) {
  save();
  flip("objects", 8);
  EXPECT_EQ(code_of_reading(), "UNSUPPORTED");
}

TEST_F(ImageTest, FailsTypedAtEveryWriteAndSync) {
  for (const char* point : {"image.create", "image.write", "image.sync"}) {
    for (const char* kind : {"enospc", "eio"}) {
      int nth = 1;
      for (;; ++nth) {
        fs::remove_all(folder_);
        fs::create_directory(folder_);
        const std::string fault =
            std::string(point) + ":" + std::to_string(nth) + ":" + kind;
        set_faults(fault.c_str());
        try {
          save();
          break;
        } catch (const Failure& failure) {
          EXPECT_EQ(failure.code(), Code::storage) << fault;
        }
        set_faults(nullptr);
        // A failed sync leaves files that are whole, and a job that does not commit them.
        if (std::string(point) != "image.sync") {
          EXPECT_NE(code_of_reading(), "") << "half an image must not read as a whole one";
        }
        ASSERT_LT(nth, 1000);
      }
      EXPECT_GT(nth, 3) << point;
    }
  }
  set_faults(nullptr);
  EXPECT_EQ(code_of_reading(), "");
}

TEST_F(ImageTest, RefusesToOverwrite) {
  save();
  try {
    save();
    FAIL() << "the second save must fail";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.code(), Code::conflict);
  }
}

TEST_F(ImageTest, SaysPermissionWhereItMayNotWrite) {
  set_faults("image.create:1:eacces");
  try {
    save();
    FAIL() << "the save must fail";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.code(), Code::permission);
  }
}

}  // namespace
}  // namespace phos::executor
