// SPDX-License-Identifier: Apache-2.0
#include "spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <vector>

namespace phos::keeper {
namespace {

using Clock = std::chrono::steady_clock;

// What the child tells its parent when it cannot become the program.
struct ChildFailure {
  std::int32_t error;
  std::int32_t step;  // index into kSteps
};
enum Step : std::int32_t {
  kCgroup,
  kSession,
  kTerminal,
  kStdio,
  kUser,
  kFolder,
  kExec,
};
constexpr const char* kSteps[] = {
    "joining the job's cgroup",      "making a session for the program",
    "giving the program its terminal", "giving the program its input and output",
    "taking on the job's user",      "entering the working folder",
    "executing",
};

[[noreturn]] void fail_child(int report, Step step) {
  const ChildFailure failure{errno, step};
  // Nobody else can be told: if this write fails, the parent sees an exit without an exec.
  [[maybe_unused]] const ssize_t count = ::write(report, &failure, sizeof failure);
  ::_exit(125);
}

bool join_cgroup(const std::string& folder) {
  if (folder.empty()) return true;
  const std::string path = folder + "/cgroup.procs";
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd.valid() && ::write(fd.get(), "0", 1) == 1;
}

// Node ignores SIGPIPE and blocks some signals; both would be inherited through exec.
void default_signals() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

bool take_user(const Spec& spec) {
  if (::geteuid() != 0) return true;
  return ::setgroups(spec.groups.size(), spec.groups.data()) == 0 &&
         ::setresgid(spec.gid, spec.gid, spec.gid) == 0 &&
         ::setresuid(spec.uid, spec.uid, spec.uid) == 0;
}

bool place_stdio(const StdioEnds& stdio) {
  // The ends were made above 2 (main.cc fills 0 to 2 first), so no dup2 overwrites another.
  return ::dup2(stdio.program_in(), 0) == 0 && ::dup2(stdio.program_out(), 1) == 1 &&
         ::dup2(stdio.program_err(), 2) == 2;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  // SAFETY: execve takes char* for history's sake and changes nothing.
  for (const std::string& text : strings) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

/** The value of PATH in the job's own environment, for a program named without a slash. */
std::string search_path(const Spec& spec) {
  for (const std::string& entry : spec.environment) {
    if (entry.rfind("PATH=", 0) == 0) return entry.substr(5);
  }
  return "/usr/local/bin:/usr/bin:/bin";
}

/** Tries every place as execvp does, but in the job's environment; returns with errno set. */
void execute(const Spec& spec, const std::vector<char*>& argv, const std::vector<char*>& envp) {
  const std::string& name = spec.arguments.front();
  if (name.find('/') != std::string::npos) {
    ::execve(name.c_str(), argv.data(), envp.data());
    return;
  }
  int remembered = ENOENT;
  std::istringstream folders(search_path(spec));
  std::string folder;
  while (std::getline(folders, folder, ':')) {
    const std::string path = (folder.empty() ? "." : folder) + "/" + name;
    ::execve(path.c_str(), argv.data(), envp.data());
    if (errno != ENOENT && errno != ENOTDIR) remembered = errno;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) return;
  }
  errno = remembered;
}

[[noreturn]] void become_program(const Spec& spec, const StdioEnds& stdio, int report) {
  default_signals();
  if (!join_cgroup(spec.cgroup)) fail_child(report, kCgroup);
  if (::setsid() < 0) fail_child(report, kSession);
  if (!place_stdio(stdio)) fail_child(report, kStdio);
  if (stdio.is_pty() && ::ioctl(0, TIOCSCTTY, 0) != 0) fail_child(report, kTerminal);
  if (!take_user(spec)) fail_child(report, kUser);
  ::umask(spec.umask);
  if (::chdir(spec.cwd.c_str()) != 0) fail_child(report, kFolder);
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  execute(spec, pointers(spec.arguments), pointers(spec.environment));
  fail_child(report, kExec);
}

Problem explain(const Spec& spec, const ChildFailure& failure) {
  std::string what = kSteps[failure.step];
  if (failure.step == kExec) what += " " + spec.arguments.front();
  if (failure.step == kFolder) what += " " + spec.cwd;
  if (failure.step == kCgroup) what += " " + spec.cgroup;
  return problem_of_errno(what, failure.error);
}

/** Reaps `pid`, which is known to be ending, so the wait is short. */
void reap(pid_t pid) {
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::string inherit(int fd, const std::string& name) {
  return "fd[" + std::to_string(fd) + "]:" + name;
}

/** CRIU's own command line and the ends that it hands to the restored program. */
std::vector<std::string> restore_arguments(const Spec& spec, const StdioEnds& stdio,
                                           std::vector<int>& handed) {
  std::vector<std::string> arguments = spec.arguments;
  const auto add = [&](const std::string& name, int fd) {
    if (name.empty() || fd < 0) return;
    arguments.emplace_back("--inherit-fd");
    arguments.push_back(inherit(fd, name));
    handed.push_back(fd);
  };
  if (stdio.is_pty()) {
    add(spec.inherit_tty, stdio.program_in());
  } else {
    add(spec.inherit_stdin, stdio.program_in());
    add(spec.inherit_stdout, stdio.program_out());
    add(spec.inherit_stderr, stdio.program_err());
  }
  return arguments;
}

[[noreturn]] void become_criu(const Spec& spec, const std::vector<std::string>& arguments,
                              const std::vector<int>& handed, int report) {
  default_signals();
  // The restored tree stays where CRIU is: cgroups are phos's business, not CRIU's.
  if (!join_cgroup(spec.cgroup)) fail_child(report, kCgroup);
  ::setpgid(0, 0);
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  for (const int fd : handed) {
    if (::fcntl(fd, F_SETFD, 0) != 0) fail_child(report, kStdio);
  }
  const std::vector<char*> argv = pointers(arguments);
  ::execve(argv[0], argv.data(), pointers(spec.environment).data());
  fail_child(report, kExec);
}

/** Waits for `pid`; false when the deadline passed and it had to be killed. */
bool wait_until(pid_t pid, std::uint32_t deadline_ms, int& status) {
  const auto end = Clock::now() + std::chrono::milliseconds(deadline_ms);
  for (;;) {
    const pid_t got = ::waitpid(pid, &status, WNOHANG);
    if (got == pid) return true;
    if (got < 0 && errno != EINTR) return false;
    if (Clock::now() >= end) {
      ::kill(-pid, SIGKILL);
      reap(pid);
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

pid_t read_pid_file(const std::string& path) {
  std::ifstream file(path);
  long pid = -1;
  file >> pid;
  return file ? static_cast<pid_t>(pid) : -1;
}

/** Forks; the child runs `child(report fd)`. Fills `pid`; tells what the child could not do. */
template <typename Child>
MaybeProblem fork_and_check(const Spec& spec, pid_t& pid, Child child) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return problem_of_errno("starting the job", errno);
  UniqueFd report_read(ends[0]), report_write(ends[1]);
  pid = ::fork();
  if (pid < 0) return problem_of_errno("starting a process for the job", errno);
  if (pid == 0) child(report_write.get());
  report_write.reset();
  ChildFailure failure{};
  ssize_t count = 0;
  do {
    count = ::read(report_read.get(), &failure, sizeof failure);
  } while (count < 0 && errno == EINTR);
  if (count != static_cast<ssize_t>(sizeof failure)) return std::nullopt;
  reap(pid);
  return explain(spec, failure);
}

}  // namespace

std::uint64_t process_start_time(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // The name may hold spaces and brackets; fields count from behind its last bracket.
  const std::size_t close = text.rfind(')');
  if (close == std::string::npos) return 0;
  std::istringstream fields(text.substr(close + 2));
  std::string field;
  for (int index = 3; index <= 21; ++index) fields >> field;
  std::uint64_t start_time = 0;
  fields >> start_time;
  return fields ? start_time : 0;
}

MaybeProblem start_program(const Spec& spec, const StdioEnds& stdio, Started& started) {
  pid_t pid = -1;
  if (MaybeProblem problem = fork_and_check(
          spec, pid, [&](int report) { become_program(spec, stdio, report); })) {
    return problem;
  }
  started = Started{pid, process_start_time(pid)};
  return std::nullopt;
}

MaybeProblem restore_program(const Spec& spec, const StdioEnds& stdio, Started& started) {
  std::vector<int> handed;
  const std::vector<std::string> arguments = restore_arguments(spec, stdio, handed);
  pid_t criu = -1;
  if (MaybeProblem problem = fork_and_check(
          spec, criu, [&](int report) { become_criu(spec, arguments, handed, report); })) {
    return problem;
  }
  int status = 0;
  if (!wait_until(criu, spec.deadline_ms, status)) {
    end_all_children();
    return Problem{"TIMEOUT", "CRIU did not finish the restore within " +
                                  std::to_string(spec.deadline_ms) + " ms and was ended"};
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    end_all_children();
    const std::string how = WIFEXITED(status) ? "exit status " + std::to_string(WEXITSTATUS(status))
                                              : "signal " + std::to_string(WTERMSIG(status));
    return Problem{"INTERNAL", "CRIU could not restore the process tree (" + how + ")"};
  }
  const pid_t root = read_pid_file(spec.pid_file);
  const std::uint64_t start_time = root > 0 ? process_start_time(root) : 0;
  if (start_time == 0) {
    end_all_children();
    return Problem{"INTERNAL", "the restored program ended before the keeper could take it over"};
  }
  started = Started{root, start_time};
  return std::nullopt;
}

void end_all_children() {
  const std::string path = "/proc/self/task/" + std::to_string(::getpid()) + "/children";
  const auto end = Clock::now() + std::chrono::seconds(1);
  while (Clock::now() < end) {
    std::ifstream file(path);
    pid_t pid = 0;
    bool any = false;
    while (file >> pid) {
      any = true;
      ::kill(pid, SIGKILL);
    }
    while (::waitpid(-1, nullptr, WNOHANG) > 0) any = true;
    if (!any) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace phos::keeper
