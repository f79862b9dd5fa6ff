// SPDX-License-Identifier: Apache-2.0
// Vectors of RFC 1319, appendix A.5.
#include "cudart-tables/md2.h"

#include <gtest/gtest.h>

#include <string>

namespace phos::cudart_tables {
namespace {

std::string digest(const std::string& text) {
  Md2 md2;
  md2.update(text.data(), text.size());
  std::uint8_t bytes[Md2::kDigestBytes];
  md2.finish(bytes);
  std::string hex;
  for (const std::uint8_t byte : bytes) {
    char two[3];
    std::snprintf(two, sizeof(two), "%02x", byte);
    hex += two;
  }
  return hex;
}

TEST(Md2, GivesTheDigestsOfTheRfc) {
  EXPECT_EQ("8350e5a3e24c153df2275c9f80692773", digest(""));
  EXPECT_EQ("32ec01ec4a6dac72c0ab96fb34c0b5d1", digest("a"));
  EXPECT_EQ("da853b0d3f88d99b30283a69e6ded6bb", digest("abc"));
  EXPECT_EQ("ab4f496bfb2a530b219ff33031fe06b0", digest("message digest"));
  EXPECT_EQ("4e8ddff3650292ab5a4108c3aa47940b", digest("abcdefghijklmnopqrstuvwxyz"));
}

}  // namespace
}  // namespace phos::cudart_tables
