// SPDX-License-Identifier: Apache-2.0
// Runs the probe's scenarios in processes of their own, against an executor over the simulated
// device in another process.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct Child {
  pid_t pid = -1;
  int in = -1;   // its standard input
  int out = -1;  // its standard output
};

Child start(const std::vector<std::string>& command, const std::vector<std::string>& environment,
            const std::string& errors) {
  int in[2];
  int out[2];
  EXPECT_EQ(0, pipe2(in, O_CLOEXEC));
  EXPECT_EQ(0, pipe2(out, O_CLOEXEC));
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    const int file = open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(file, STDERR_FILENO);
    for (const std::string& entry : environment) putenv(const_cast<char*>(entry.c_str()));
    std::vector<char*> arguments;
    for (const std::string& argument : command) {
      arguments.push_back(const_cast<char*>(argument.c_str()));
    }
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  return {pid, in[1], out[0]};
}

// The exit code, 128 + n for a signal; kills what does not end within a minute.
int finish(Child& child) {
  int status = 0;
  for (int i = 0; i < 6000; ++i) {
    if (waitpid(child.pid, &status, WNOHANG) == child.pid) {
      close(child.in);
      close(child.out);
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    usleep(10'000);
  }
  kill(child.pid, SIGKILL);
  waitpid(child.pid, &status, 0);
  return -1;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class Client : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/phos-client-XXXXXX";
    ASSERT_NE(nullptr, mkdtemp(name));
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void start_host() {
    host_ = start({PHOS_TEST_HOST, folder_}, {}, folder_ + "/host.err");
    char ready[8] = "";
    ASSERT_LT(0, read(host_.out, ready, sizeof(ready))) << text_of(folder_ + "/host.err");
  }
  // The host fails when an async command failed in the executor.
  int end_host() {
    kill(host_.pid, SIGTERM);
    return finish(host_);
  }
  int run(const std::string& scenario) {
    Child probe = start({PHOS_TEST_PROBE, scenario}, environment(), folder_ + "/probe.err");
    return finish(probe);
  }
  std::vector<std::string> environment(
      const std::string& library_folder = PHOS_TEST_CLIENT_DIR) const {
    return {"PHOS_RUNTIME_DIR=" + folder_, "LD_LIBRARY_PATH=" + library_folder,
            "LD_PRELOAD=" + library_folder + "/libcuda.so.1"};
  }
  std::string errors() const {
    return text_of(folder_ + "/probe.err") + text_of(folder_ + "/host.err");
  }
  std::string folder_;
  Child host_;
};

class Scenario : public Client, public testing::WithParamInterface<const char*> {};

TEST_P(Scenario, JudgesItselfRight) {
  start_host();
  EXPECT_EQ(0, run(GetParam())) << errors();
  EXPECT_EQ(0, end_host()) << errors();
}

INSTANTIATE_TEST_SUITE_P(Probe, Scenario,
                         testing::Values("context", "device", "memory", "copies", "shapes",
                                         "host_memory", "streams", "errors", "launch",
                                         "launch_errors", "capture", "host_functions", "threads",
                                         "fork", "fork_before", "lookup", "per_thread", "pools",
                                         "crowd"),
                         [](const auto& info) { return std::string(info.param); });

// Ordinary nvcc output, with cudart inside it and beside it: the handshake, the private tables, and
// some seventy calls of the runtime.
class Runtime : public Client, public testing::WithParamInterface<const char*> {};

TEST_P(Runtime, ProgramJudgesItselfRight) {
  const std::string program = std::string(PHOS_TEST_SUBJECTS) + "/runtime_calls_" + GetParam();
  if (!fs::exists(program)) GTEST_SKIP() << "there is no nvcc here, so " << program << " is not";
  start_host();
  Child child = start({program}, environment(), folder_ + "/probe.err");
  EXPECT_EQ(PHOS_TEST_HANDSHAKE ? 0 : 1, finish(child)) << errors();
  EXPECT_EQ(0, end_host()) << errors();
}

// Where the handshake was left out, the runtime answers 103 and the program is told why, once.
TEST_P(Runtime, WithoutTheHandshakeItFailsWith103AndAReason) {
  const std::string program = std::string(PHOS_TEST_SUBJECTS) + "/runtime_calls_" + GetParam();
  if (!fs::exists(program)) GTEST_SKIP() << "there is no nvcc here, so " << program << " is not";
  start_host();
  Child child =
      start({program}, environment(PHOS_TEST_NO_HANDSHAKE_DIR), folder_ + "/probe.err");
  EXPECT_EQ(1, finish(child)) << errors();
  const std::string said = text_of(folder_ + "/probe.err");
  EXPECT_NE(std::string::npos, said.find("answered 103")) << said;
  const std::size_t reason = said.find("PHOS_CUDART_HANDSHAKE=OFF");
  ASSERT_NE(std::string::npos, reason) << said;
  EXPECT_EQ(std::string::npos, said.find("PHOS_CUDART_HANDSHAKE=OFF", reason + 1)) << said;
  EXPECT_EQ(0, end_host()) << errors();
}

TEST_F(Client, WithoutTheHandshakeTheDriverApiWorks) {
  start_host();
  Child probe = start({PHOS_TEST_PROBE, "memory"}, environment(PHOS_TEST_NO_HANDSHAKE_DIR),
                      folder_ + "/probe.err");
  EXPECT_EQ(0, finish(probe)) << errors();
  EXPECT_EQ(0, end_host()) << errors();
}

INSTANTIATE_TEST_SUITE_P(Cudart, Runtime, testing::Values("static", "shared"),
                         [](const auto& info) { return std::string(info.param); });

TEST_F(Client, WithoutPhosdCuInitFailsAndSaysTheCure) {
  EXPECT_EQ(802 % 256, run("init"));
  const std::string said = text_of(folder_ + "/probe.err");
  EXPECT_NE(std::string::npos, said.find("phos start")) << said;
  EXPECT_EQ(1, std::count(said.begin(), said.end(), '\n')) << said;
}

TEST_F(Client, AProgramWithoutCudaDoesNotAttach) {
  start_host();
  Child shell = start({"/bin/sh", "-c", "exit 7"}, environment(), folder_ + "/probe.err");
  EXPECT_EQ(7, finish(shell));
  EXPECT_EQ("", text_of(folder_ + "/probe.err"));
  EXPECT_EQ(0, end_host());
  EXPECT_EQ(std::string::npos, errors().find("event")) << errors();
}

TEST_F(Client, ADeadExecutorIsAnErrorNotAHang) {
  start_host();
  Child probe = start({PHOS_TEST_PROBE, "wait_for_death"}, environment(), folder_ + "/probe.err");
  char ready[8] = "";
  ASSERT_LT(0, read(probe.out, ready, sizeof(ready))) << errors();
  kill(host_.pid, SIGKILL);
  finish(host_);
  EXPECT_EQ(0, finish(probe)) << errors();
}

}  // namespace
