// SPDX-License-Identifier: Apache-2.0
// The window's allocator: exact addresses, packing, and memory that is used again only when every
// stream has passed its free.
#include <gtest/gtest.h>

#include "executor/device_memory.h"
#include "executor/range_map.h"
#include "executor/window.h"
#include "fake_driver.h"

namespace phos::executor {
namespace {

TEST(RangeMap, TakesTheLowestAndMergesWhatComesBack) {
  RangeMap map(0x1000, 0x4000);
  EXPECT_EQ(map.take(0x1000, 0x1000), 0x1000U);
  EXPECT_EQ(map.take(0x800, 0x1000), 0x2000U);
  EXPECT_EQ(map.take(0x1000, 0x1000), 0x3000U);
  map.give(0x1000, 0x1000);
  map.give(0x2000, 0x800);
  map.give(0x3000, 0x1000);
  EXPECT_EQ(map.fragments(), 1U);
  EXPECT_EQ(map.free_bytes(), 0x4000U);
}

TEST(RangeMap, TakesAnExactPlaceOnlyWhenItIsFree) {
  RangeMap map(0x1000, 0x4000);
  EXPECT_TRUE(map.take_at(0x2000, 0x1000));
  EXPECT_FALSE(map.take_at(0x2800, 0x100));
  EXPECT_FALSE(map.take_at(0x1800, 0x1000));
  EXPECT_FALSE(map.take_at(0x4800, 0x1000));
  EXPECT_TRUE(map.take_at(0x3000, 0x2000));
  EXPECT_EQ(map.free_bytes(), 0x1000U);
}

TEST(RangeMap, DoesNotOverflowAtTheEndOfTheAddressSpace) {
  RangeMap map(~std::uint64_t{0} - 0xFFF, 0xFFF);
  EXPECT_FALSE(map.take(0x2000, 0x1000).has_value());
  EXPECT_FALSE(map.take(~std::uint64_t{0}, 1).has_value());
}

class DeviceMemoryTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(memory_.reserve(), CUDA_SUCCESS); }
  std::uint64_t allocate(std::uint64_t bytes) {
    std::uint64_t address = 0;
    EXPECT_EQ(memory_.allocate(bytes, streams_, &address), CUDA_SUCCESS);
    return address;
  }
  test::FakeDriver driver_;
  Streams streams_{driver_.table()};
  DeviceMemory memory_{driver_.table(), 0, device_window_base(), 64U << 20};
};

TEST_F(DeviceMemoryTest, PacksSmallOnesAndAlignsLargeOnes) {
  const std::uint64_t a = allocate(100);
  const std::uint64_t b = allocate(700);
  EXPECT_EQ(a, device_window_base());
  EXPECT_EQ(b, a + 512);
  EXPECT_EQ(allocate(3U << 20) % kChunkBytes, 0U);
  EXPECT_EQ(driver_.mapped_bytes(), 3 * kChunkBytes);
  EXPECT_EQ(memory_.live_ranges().size(), 1U);
}

TEST_F(DeviceMemoryTest, FindsTheAllocationOfAnInnerAddress) {
  const std::uint64_t a = allocate(1000);
  ASSERT_NE(memory_.find(a + 999), nullptr);
  EXPECT_EQ(memory_.find(a + 999)->address, a);
  EXPECT_EQ(memory_.find(a + 1000), nullptr);
}

TEST_F(DeviceMemoryTest, RefusesZeroDoubleFreeAndForeignAddresses) {
  std::uint64_t address = 0;
  EXPECT_EQ(memory_.allocate(0, streams_, &address), CUDA_ERROR_INVALID_VALUE);
  const std::uint64_t a = allocate(4096);
  EXPECT_EQ(memory_.retire(a + 512, streams_), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(memory_.retire(a, streams_), CUDA_SUCCESS);
  EXPECT_EQ(memory_.retire(a, streams_), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(DeviceMemoryTest, DoesNotUseAgainWhatAStreamMayStillTouch) {
  CUstream stream = nullptr;
  ASSERT_EQ(driver_.table().cuStreamCreate(&stream, 0), CUDA_SUCCESS);
  driver_.hold(stream);
  const std::uint64_t a = allocate(4U << 20);
  ASSERT_EQ(driver_.table().cuMemsetD8Async(a, 1, 16, stream), CUDA_SUCCESS);
  streams_.submitted(0x99, stream);
  ASSERT_EQ(memory_.retire(a, streams_), CUDA_SUCCESS);
  EXPECT_NE(allocate(4U << 20), a);
  EXPECT_FALSE(memory_.reclaim(streams_));
  driver_.release(stream);
  EXPECT_TRUE(memory_.reclaim(streams_));
  EXPECT_EQ(allocate(4U << 20), a);
}

TEST_F(DeviceMemoryTest, WaitsForDestroyedStreamsToo) {
  CUstream stream = nullptr;
  ASSERT_EQ(driver_.table().cuStreamCreate(&stream, 0), CUDA_SUCCESS);
  driver_.hold(stream);
  const std::uint64_t a = allocate(4U << 20);
  ASSERT_EQ(driver_.table().cuMemsetD8Async(a, 1, 16, stream), CUDA_SUCCESS);
  streams_.submitted(0x99, stream);
  streams_.forget(0x99);
  ASSERT_EQ(memory_.retire(a, streams_), CUDA_SUCCESS);
  EXPECT_FALSE(memory_.reclaim(streams_));
  EXPECT_FALSE(streams_.idle());
  driver_.release(stream);
  EXPECT_TRUE(memory_.reclaim(streams_));
  EXPECT_TRUE(streams_.idle());
}

TEST_F(DeviceMemoryTest, AnswersOutOfMemoryAndGoesOn) {
  std::uint64_t address = 0;
  EXPECT_EQ(memory_.allocate(65U << 20, streams_, &address), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(memory_.allocate(~std::uint64_t{0}, streams_, &address), CUDA_ERROR_OUT_OF_MEMORY);
  driver_.fail_next("create", CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(memory_.allocate(100, streams_, &address), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(allocate(100), device_window_base());
  EXPECT_EQ(memory_.used_bytes(), 100U);
}

TEST_F(DeviceMemoryTest, TakesExactAddressesForRestore) {
  const std::uint64_t base = device_window_base();
  EXPECT_EQ(memory_.allocate_at(base + 4 * kChunkBytes, 5U << 20), CUDA_SUCCESS);
  EXPECT_EQ(memory_.allocate_at(base + 5 * kChunkBytes, 2U << 20), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(memory_.allocate_at(base + 1024, 600), CUDA_SUCCESS);
  EXPECT_EQ(memory_.allocate_at(base + 1536, 10), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(memory_.allocate_at(base + 2048, 10), CUDA_SUCCESS);
  EXPECT_EQ(memory_.allocate_at(base + 1, 10), CUDA_SUCCESS) << "any free place";
  EXPECT_EQ(memory_.live_ranges().size(), 2U);
}

TEST_F(DeviceMemoryTest, GivesMemoryBackAndTakesItAgain) {
  const std::uint64_t a = allocate(4096);
  const std::uint64_t b = allocate(4U << 20);
  memory_.unmap_all();
  EXPECT_EQ(driver_.mapped_bytes(), 0U);
  EXPECT_EQ(memory_.remap_all(), CUDA_SUCCESS);
  EXPECT_EQ(driver_.mapped_bytes(), 3 * kChunkBytes);
  EXPECT_NE(memory_.find(a), nullptr);
  EXPECT_NE(memory_.find(b), nullptr);
  memory_.unmap_all();
  driver_.fail_next("create", CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(memory_.remap_all(), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(driver_.mapped_bytes(), 0U);
}

}  // namespace
}  // namespace phos::executor
