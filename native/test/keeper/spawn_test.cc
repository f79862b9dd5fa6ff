// SPDX-License-Identifier: Apache-2.0
// The program's ends and its start, without a relay around them; the relay as a whole is tested
// with real keepers from test/e2e/keeper.test.ts.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "spawn.h"
#include "stdio_ends.h"

namespace phos::keeper {
namespace {

Spec spec_for(std::vector<std::string> arguments) {
  Spec spec;
  spec.socket_path = "unused";
  spec.arguments = std::move(arguments);
  spec.environment = {"PATH=/usr/bin:/bin"};
  spec.uid = getuid();
  spec.gid = getgid();
  return spec;
}

/** Waits for the program and returns what it wrote. */
std::string output_of(const Spec& spec, int& status) {
  StdioEnds stdio;
  Started started;
  EXPECT_FALSE(stdio.open(spec));
  const auto problem = start_program(spec, stdio, started);
  EXPECT_FALSE(problem) << problem->message;
  EXPECT_GT(started.start_time, 0U);
  stdio.close_program_side();
  EXPECT_EQ(waitpid(started.pid, &status, 0), started.pid);
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = read(stdio.output(), buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

TEST(Spawn, RunsAProgramFoundOnItsOwnPath) {
  int status = 0;
  EXPECT_EQ(output_of(spec_for({"sh", "-c", "echo $PATH; exit 3"}), status), "/usr/bin:/bin\n");
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

TEST(Spawn, GivesATerminalThatIsTheControllingOne) {
  int status = 0;
  Spec spec = spec_for(
      {"sh", "-c", "test -t 0 && test -t 1 && test -t 2 && : >/dev/tty && echo ok"});
  spec.pty = true;
  EXPECT_EQ(output_of(spec, status), "ok\r\n");
}

TEST(Spawn, SaysWhichStepFailed) {
  const auto problem_of = [](const Spec& spec) {
    StdioEnds stdio;
    Started started;
    EXPECT_FALSE(stdio.open(spec));
    const auto problem = start_program(spec, stdio, started);
    EXPECT_TRUE(problem);
    return problem.value_or(Problem{});
  };
  EXPECT_EQ(problem_of(spec_for({"/nonexistent"})).code, "NOT_FOUND");
  EXPECT_EQ(problem_of(spec_for({"no-such-program"})).code, "NOT_FOUND");
  EXPECT_EQ(problem_of(spec_for({"/"})).code, "PERMISSION");
  Spec spec = spec_for({"true"});
  spec.cwd = "/nonexistent";
  EXPECT_NE(problem_of(spec).message.find("/nonexistent"), std::string::npos);
  spec = spec_for({"true"});
  spec.cgroup = "/nonexistent";
  EXPECT_NE(problem_of(spec).message.find("cgroup"), std::string::npos);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(StdioEnds, ShowsPendingInputWithoutTakingIt) {
  StdioEnds stdio;
  ASSERT_FALSE(stdio.open(spec_for({"unused"})));
  EXPECT_EQ(stdio.peek_input(), "");
  ASSERT_EQ(write(stdio.input(), "abc", 3), 3);
  EXPECT_EQ(stdio.peek_input(), "abc");
  EXPECT_EQ(stdio.peek_input(), "abc");
  stdio.close_input();
  EXPECT_EQ(stdio.peek_input(), "abc");
  char buffer[8];
  EXPECT_EQ(read(stdio.program_in(), buffer, sizeof buffer), 3);
  EXPECT_EQ(stdio.peek_input(), "");
  EXPECT_EQ(read(stdio.program_in(), buffer, sizeof buffer), 0);
}

TEST(StdioEnds, WhatWasTypedAheadIsSeenAndStays) {
  Spec spec = spec_for({"unused"});
  spec.pty = true;
  StdioEnds stdio;
  ASSERT_FALSE(stdio.open(spec));
  const std::string before = stdio.termios_hex();
  ASSERT_EQ(write(stdio.input(), "one\rtwo\rthr", 11), 11);
  char echo[64];
  std::string echoed;
  while (echoed.size() < 13) {  // "one\r\ntwo\r\nthr"
    const ssize_t count = read(stdio.output(), echo, sizeof echo);
    if (count > 0) echoed.append(echo, static_cast<std::size_t>(count));
  }
  EXPECT_EQ(stdio.peek_input(), "one\ntwo\nthr");
  EXPECT_EQ(stdio.peek_input(), "one\ntwo\nthr");
  EXPECT_EQ(stdio.termios_hex(), before);
  EXPECT_EQ(read(stdio.output(), echo, sizeof echo), -1) << "it was echoed again";
  // The program reads it line by line, and the unfinished line can still be edited.
  ASSERT_EQ(write(stdio.input(), "\x7f\x7fx\r", 4), 4);
  for (const std::string line : {"one\n", "two\n", "tx\n"}) {
    char buffer[64];
    const ssize_t count = read(stdio.program_in(), buffer, sizeof buffer);
    EXPECT_EQ(std::string(buffer, static_cast<std::size_t>(count > 0 ? count : 0)), line);
  }
}

TEST(StdioEnds, TerminalSettingsComeBack) {
  Spec spec = spec_for({"unused"});
  spec.pty = true;
  StdioEnds first;
  ASSERT_FALSE(first.open(spec));
  spec.termios = first.termios_hex();
  ASSERT_FALSE(spec.termios.empty());
  StdioEnds second;
  ASSERT_FALSE(second.open(spec));
  EXPECT_EQ(second.termios_hex(), spec.termios);
  spec.termios = "00";
  StdioEnds third;
  EXPECT_EQ(third.open(spec).value_or(Problem{}).code, "IMAGE_INVALID");
}

}  // namespace
}  // namespace phos::keeper
