// SPDX-License-Identifier: Apache-2.0
#include "gen/codec.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace {

using phos::codec::BlobRef;

struct In {
  const void* data;
  std::size_t size;
};
struct Out {
  void* data;
  std::size_t capacity;
  std::size_t size;
};
struct Fixed {
  BlobRef first;
  BlobRef second;
  std::uint32_t word;
};

std::vector<std::uint8_t> encode(const Fixed& fixed, std::span<const In> blobs) {
  std::vector<std::uint8_t> bytes(phos::codec::payload_bytes(sizeof(fixed), blobs));
  phos::codec::write_payload(bytes.data(), &fixed, sizeof(fixed), blobs);
  return bytes;
}

TEST(Codec, BlobsComeBackAsTheyWere) {
  const std::string text = "seven c";
  const std::array<std::uint16_t, 3> numbers{1, 2, 3};
  const In in[] = {{text.data(), text.size()}, {numbers.data(), sizeof(numbers)}};
  const auto payload = encode({{}, {}, 42}, in);

  std::array<char, 16> first{};
  std::array<std::uint16_t, 3> second{};
  Out out[] = {{first.data(), first.size(), 0}, {second.data(), sizeof(second), 0}};
  Fixed fixed{};
  ASSERT_TRUE(phos::codec::read_payload(payload.data(), payload.size(), &fixed, sizeof(fixed),
                                        std::span<Out>(out)));
  EXPECT_EQ(fixed.word, 42U);
  EXPECT_EQ(fixed.first.offset % phos::codec::kBlobAlign, 0U);
  EXPECT_EQ(fixed.second.offset % phos::codec::kBlobAlign, 0U);
  EXPECT_EQ(std::string(first.data(), out[0].size), text);
  EXPECT_EQ(second, numbers);
}

TEST(Codec, NullAndEmptyAreDifferent) {
  const In in[] = {{nullptr, 0}, {"", 0}};
  const auto payload = encode({{}, {}, 1}, in);
  Fixed fixed{};
  std::memcpy(&fixed, payload.data(), sizeof(fixed));
  EXPECT_EQ(fixed.first.offset, 0U);
  EXPECT_NE(fixed.second.offset, 0U);
  EXPECT_EQ(fixed.second.bytes, 0U);
}

TEST(Codec, RefusesWhatDoesNotFit) {
  const std::string text = "0123456789";
  const In in[] = {{text.data(), text.size()}, {nullptr, 0}};
  const auto good = encode({{}, {}, 1}, in);
  std::array<char, 16> room{};
  Fixed fixed{};
  const auto read = [&](std::vector<std::uint8_t> bytes, std::size_t capacity) {
    Out out[] = {{room.data(), capacity, 0}, {nullptr, 0, 0}};
    return phos::codec::read_payload(bytes.data(), bytes.size(), &fixed, sizeof(fixed),
                                     std::span<Out>(out));
  };
  EXPECT_TRUE(read(good, 10));
  EXPECT_FALSE(read(good, 9));
  EXPECT_FALSE(read({good.begin(), good.begin() + sizeof(Fixed) - 1}, 10));
  EXPECT_FALSE(read({good.begin(), good.end() - 1}, 10));
  auto far = good;
  const BlobRef outside{0xFFFFFFF8U, 10};
  std::memcpy(far.data(), &outside, sizeof(outside));
  EXPECT_FALSE(read(far, 10));
}

TEST(Codec, SizesOfArraysDoNotWrap) {
  EXPECT_EQ(phos::codec::array_bytes(3, 8), 24U);
  EXPECT_EQ(phos::codec::array_bytes(~std::uint64_t{0}, 8), SIZE_MAX);
  EXPECT_EQ(phos::codec::array_bytes(SIZE_MAX / 8 + 1, 8), SIZE_MAX);
}

}  // namespace
