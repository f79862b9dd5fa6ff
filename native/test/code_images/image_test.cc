// SPDX-License-Identifier: Apache-2.0
#include "code-images/image.h"

#include <gtest/gtest.h>

#include <random>

#include "code-images/description.h"
#include "fixture.h"

namespace phos::code_images {
namespace {

using test::fixture;

struct Wrapper {
  std::uint32_t magic = kWrapperMagic;
  std::uint32_t version = 1;
  const void* fatbin = nullptr;
  const void* extra = nullptr;
};

TEST(ImageExtent, MeasuresWhatAPointerPointsAt) {
  for (const char* name : {"zstd.fatbin", "lz4.fatbin", "sm_80.cubin", "sm_90.cubin"}) {
    auto bytes = fixture(name);
    const std::size_t size = bytes.size();
    bytes.resize(size + 100, 0xEE);  // what lies behind must not matter
    const auto extent = image_extent(bytes.data());
    ASSERT_TRUE(extent.ok()) << name;
    EXPECT_EQ(extent.value().bytes, size) << name;
  }
  auto text = fixture("compute_80.ptx");
  text.push_back(0);
  const auto extent = image_extent(text.data());
  ASSERT_TRUE(extent.ok());
  EXPECT_EQ(extent.value().kind, ImageKind::ptx);
  EXPECT_EQ(extent.value().bytes, text.size());
}

TEST(ImageExtent, FollowsAWrapper) {
  const auto fatbin = fixture("zstd.fatbin");
  const Wrapper wrapper{.fatbin = fatbin.data()};
  const auto extent = image_extent(&wrapper);
  ASSERT_TRUE(extent.ok());
  EXPECT_EQ(extent.value().kind, ImageKind::wrapper);
  ASSERT_EQ(extent.value().parts.size(), 1U);
  EXPECT_EQ(extent.value().parts[0].data(), fatbin.data());
  EXPECT_EQ(flatten_image(extent.value()), fatbin);
}

TEST(ImageExtent, RefusesOtherThings) {
  EXPECT_EQ(image_extent(nullptr).error(), ImageError::null_image);
  EXPECT_EQ(image_extent("").error(), ImageError::unknown_format);
  EXPECT_EQ(image_extent("no code").error(), ImageError::unknown_format);
  const Wrapper empty;
  EXPECT_EQ(image_extent(&empty).error(), ImageError::null_image);
  const auto fatbin = fixture("lz4.fatbin");
  const Wrapper strange{.version = 7, .fatbin = fatbin.data()};
  EXPECT_EQ(image_extent(&strange).error(), ImageError::unsupported_version);
}

TEST(FlatImage, CarriesAllUnitsOfAWrapperOfVersionTwo) {
  const auto linked = fixture("cubin_only.fatbin");
  const auto first = fixture("zstd.fatbin");
  auto second = fixture("lz4.fatbin");
  const void* const units[] = {first.data(), second.data(), nullptr};
  const Wrapper wrapper{.version = 2, .fatbin = linked.data(), .extra = units};
  const auto extent = image_extent(&wrapper);
  ASSERT_TRUE(extent.ok());
  ASSERT_EQ(extent.value().parts.size(), 3U);
  const auto flat = flatten_image(extent.value());
  EXPECT_EQ(flat.size(), flat_bytes(extent.value()));
  const auto again = LoadableImage::from_flat(flat);
  ASSERT_TRUE(again.ok());
  const auto loaded = image_extent(again.value().data());
  ASSERT_TRUE(loaded.ok());
  ASSERT_EQ(loaded.value().parts.size(), 3U);
  EXPECT_TRUE(std::equal(second.begin(), second.end(), loaded.value().parts[2].begin()));
  const auto texts = select_ptx(again.value().data(), Target{});
  ASSERT_TRUE(texts.ok());
  EXPECT_EQ(texts.value().size(), 2U);
}

TEST(FlatImage, GivesPtxItsNulBack) {
  const auto text = fixture("compute_80.ptx");
  const auto image = LoadableImage::from_flat(text);
  ASSERT_TRUE(image.ok());
  EXPECT_EQ(std::string(static_cast<const char*>(image.value().data())).size(), text.size());
}

// Cuts every fixture at every byte, in a heap block of exactly that size so that AddressSanitizer
// sees a read beyond it. Nothing may crash, and no cut may pass for the whole.
class Truncated : public testing::TestWithParam<const char*> {};

TEST_P(Truncated, IsAnError) {
  const auto whole = fixture(GetParam());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const std::vector<std::uint8_t> cut(whole.begin(),
                                        whole.begin() + static_cast<std::ptrdiff_t>(length));
    const auto module = describe_flat(cut, Target{});
    ASSERT_FALSE(module.ok()) << GetParam() << " cut at " << length;
    (void)select_ptx_flat(cut, Target{});
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Truncated,
                         testing::Values("zstd.fatbin", "lz4.fatbin", "cubin_only.fatbin",
                                         "sm_80.cubin"));

TEST(DamagedImage, NeverCrashes) {
  std::mt19937 random(12345);
  for (const char* name :
       {"zstd.fatbin", "lz4.fatbin", "plain.fatbin", "sm_90.cubin", "compute_80.ptx"}) {
    const auto whole = fixture(name);
    for (int round = 0; round < 2000; ++round) {
      auto bytes = whole;
      const int changes = 1 + static_cast<int>(random() % 4);
      for (int i = 0; i < changes; ++i) {
        // Half of the damage goes into headers, where it hurts most.
        const std::size_t range = random() % 2 == 0 ? 128 : bytes.size();
        bytes[random() % std::min(range, bytes.size())] = static_cast<std::uint8_t>(random());
      }
      (void)describe_flat(bytes, Target{});
      (void)select_ptx_flat(bytes, Target{});
    }
  }
}

TEST(Compression, NeverBelievesTheSizeThatIsPromised) {
  auto bytes = fixture("lz4.fatbin");
  const std::uint64_t promised = 1ULL << 29;
  std::memcpy(bytes.data() + 16 + 56, &promised, sizeof promised);
  EXPECT_EQ(describe_flat(bytes, Target{}).error(), ImageError::bad_compression);
  const std::uint64_t absurd = 1ULL << 60;
  std::memcpy(bytes.data() + 16 + 56, &absurd, sizeof absurd);
  EXPECT_EQ(describe_flat(bytes, Target{}).error(), ImageError::too_large);
}

}  // namespace
}  // namespace phos::code_images
