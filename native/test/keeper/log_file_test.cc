// SPDX-License-Identifier: Apache-2.0
#include "log_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace phos::keeper {
namespace {

class LogFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "phos-log-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  static std::string text(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  std::filesystem::path dir_;
};

TEST_F(LogFileTest, AppendsToWhatIsThere) {
  const auto path = dir_ / "out";
  LogFile(path, 100).append("one ");
  LogFile(path, 100).append("two");
  EXPECT_EQ(text(path), "one two");
}

TEST_F(LogFileTest, KeepsOneOldFileAndNeverMore) {
  const auto path = dir_ / "out";
  LogFile log(path, 10);
  for (const char* part : {"aaaaaa", "bbbbbb", "cccccc"}) log.append(part);
  EXPECT_EQ(text(path), "cccccc");
  EXPECT_EQ(text(dir_ / "out.1"), "bbbbbb");
  EXPECT_EQ(log.lost_bytes(), 0U);
}

TEST_F(LogFileTest, CountsWhatCouldNotBeKept) {
  LogFile nowhere("", 10);
  nowhere.append("12345");
  EXPECT_EQ(nowhere.lost_bytes(), 5U);
  LogFile missing(dir_ / "no" / "such", 10);
  missing.append("123");
  EXPECT_EQ(missing.lost_bytes(), 3U);
  if (access("/dev/full", W_OK) == 0) {
    LogFile full("/dev/full", 10);
    full.append("1234");
    EXPECT_EQ(full.lost_bytes(), 4U);
  }
}

}  // namespace
}  // namespace phos::keeper
