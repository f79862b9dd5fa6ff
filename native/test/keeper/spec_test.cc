// SPDX-License-Identifier: Apache-2.0
#include "spec.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace phos::keeper {
namespace {

std::string pairs(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += word;
    text += '\0';
  }
  return text;
}

TEST(Spec, TakesEveryKindOfSetting) {
  Spec spec;
  const auto problem = parse_spec(
      pairs({"socket", "/tmp/s", "arg", "/bin/echo", "arg", "", "env", "A=b=c", "env", "D=", "uid",
             "1000", "group", "7", "group", "8", "umask", "027", "pty", "1", "rows", "50",
             "log-limit-bytes", "123456789012", "stdin-eof", "1", "inherit-tty", "tty[8803:17]"}),
      spec);
  ASSERT_FALSE(problem) << problem->message;
  EXPECT_EQ(spec.arguments, (std::vector<std::string>{"/bin/echo", ""}));
  EXPECT_EQ(spec.environment, (std::vector<std::string>{"A=b=c", "D="}));
  EXPECT_EQ(spec.groups, (std::vector<gid_t>{7, 8}));
  EXPECT_EQ(spec.uid, 1000U);
  EXPECT_EQ(spec.umask, 027U);
  EXPECT_TRUE(spec.pty);
  EXPECT_EQ(spec.rows, 50);
  EXPECT_EQ(spec.log_limit_bytes, 123456789012U);
  EXPECT_TRUE(spec.stdin_eof);
  EXPECT_EQ(spec.inherit_tty, "tty[8803:17]");
}

TEST(Spec, RefusesWhatItDoesNotKnow) {
  const std::vector<std::vector<std::string>> bad{
      {"socket", "/tmp/s", "arg", "x", "colour", "red"},
      {"socket", "/tmp/s", "arg", "x", "uid", "-1"},
      {"socket", "/tmp/s", "arg", "x", "uid", "12x"},
      {"socket", "/tmp/s", "arg", "x", "rows", "70000"},
      {"socket", "/tmp/s", "arg", "x", "pty", "yes"},
      {"socket", "/tmp/s", "arg", "x", "umask", "9"},
      {"socket", "/tmp/s"},
      {"arg", "x"},
      {},
  };
  for (const auto& words : bad) {
    Spec spec;
    const auto problem = parse_spec(pairs(words), spec);
    ASSERT_TRUE(problem) << (words.empty() ? "nothing" : words.back());
    EXPECT_EQ(problem->code, "USAGE");
  }
}

TEST(Spec, RefusesAPairThatIsCutShort) {
  const std::string whole = pairs({"socket", "/tmp/s", "arg", "x"});
  for (std::size_t bytes = 1; bytes < whole.size(); ++bytes) {
    Spec spec;
    EXPECT_TRUE(parse_spec(std::string_view(whole).substr(0, bytes), spec)) << bytes;
  }
}

TEST(Spec, IsReadFromAPipe) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string text = pairs({"socket", "/tmp/s", "arg", "x"});
  ASSERT_EQ(write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  close(ends[1]);
  Spec spec;
  EXPECT_FALSE(read_spec(ends[0], spec));
  EXPECT_EQ(spec.socket_path, "/tmp/s");
  close(ends[0]);
  EXPECT_TRUE(read_spec(ends[0], spec));  // a closed descriptor is a problem, not a crash
}

TEST(Json, EscapesWhatJsonForbids) {
  EXPECT_EQ(json_escape("a\"b\\c\n\x01 d"), "a\\\"b\\\\c\\u000a\\u0001 d");
  EXPECT_EQ(to_json(Problem{"USAGE", "no \"x\""}),
            "{\"error\":{\"code\":\"USAGE\",\"message\":\"no \\\"x\\\"\"}}");
}

}  // namespace
}  // namespace phos::keeper
