// SPDX-License-Identifier: Apache-2.0
// phos-keeper: one for each `phos run` job. It holds the job's input and output, is the reaper of
// everything the job starts (and of what CRIU brings back), and reports how it ended.
//
//   phos-keeper run | restore    specification on standard input (spec.h); one line of JSON on
//                                standard output when the job runs, or why it does not
//   phos-keeper sockets          pairs "inode peer" of the machine's connected unix sockets
//   phos-keeper stoppable CMD ... becomes CMD (CRIU), in a session of its own, such that
//   phos-keeper stop PID         makes it fail at its next write to a file
//   phos-keeper settled CMD ...  becomes CMD (an executor) without address space randomisation
//
// CRIU must never be killed in the middle of a dump: in some of its moments the program's own code
// and registers are replaced, and the program would die with it. A failing write makes it put
// everything back and end by itself.
//
// It outlives phosd: the socket keepers/ID.sock is how a new phosd finds it again.
#include <fcntl.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

#include "relay.h"
#include "sockets.h"
#include "spawn.h"
#include "spec.h"

namespace phos::keeper {
namespace {

/** Makes sure that 0, 1 and 2 are open, so that no pipe of the job gets one of these numbers. */
void fill_standard_fds() {
  for (;;) {
    const int fd = ::open("/dev/null", O_RDWR);
    if (fd < 0) return;
    if (fd > 2) {
      ::close(fd);
      return;
    }
  }
}

void say(int fd, const std::string& line) {
  const std::string text = line + "\n";
  // A reader that has gone cannot be told; the socket still answers.
  [[maybe_unused]] const ssize_t count = ::write(fd, text.data(), text.size());
}

void replace_with_null(int fd) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.valid()) ::dup2(null.get(), fd);
}

MaybeProblem listen_on(const Spec& spec, UniqueFd& listener) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (spec.socket_path.size() >= sizeof address.sun_path) {
    return Problem{"USAGE", "the socket path is too long for the system: " + spec.socket_path +
                                "; choose a shorter PHOS_RUNTIME_DIR"};
  }
  spec.socket_path.copy(address.sun_path, spec.socket_path.size());
  listener.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return problem_of_errno("making the keeper's socket", errno);
  const mode_t before = ::umask(0177);
  // SAFETY: the sockets interface takes every address family as sockaddr.
  const int bound =
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  ::umask(before);
  if (bound != 0) return problem_of_errno("binding " + spec.socket_path, error);
  if (::geteuid() == 0 && ::chown(spec.socket_path.c_str(), spec.uid, spec.gid) != 0) {
    return problem_of_errno("giving the keeper's socket to the job's user", errno);
  }
  if (::listen(listener.get(), 16) != 0) return problem_of_errno("listening", errno);
  return std::nullopt;
}

MaybeProblem watch_signals(UniqueFd& signal_fd) {
  sigset_t watched;
  ::sigemptyset(&watched);
  ::sigaddset(&watched, SIGCHLD);
  ::sigaddset(&watched, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &watched, nullptr);
  for (const int number : {SIGHUP, SIGINT, SIGPIPE, SIGQUIT}) ::signal(number, SIG_IGN);
  signal_fd.reset(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signal_fd.valid()) return problem_of_errno("watching for the job's end", errno);
  return std::nullopt;
}

MaybeProblem read_initial_input(const Spec& spec, std::string& bytes) {
  if (spec.stdin_file.empty()) return std::nullopt;
  std::ifstream file(spec.stdin_file, std::ios::binary);
  if (!file) return problem_of_errno("reading " + spec.stdin_file, errno);
  bytes.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  return std::nullopt;
}

std::string started_json(const Started& job) {
  return "{\"keeperPid\":" + std::to_string(::getpid()) + ",\"pid\":" + std::to_string(job.pid) +
         ",\"startTime\":\"" + std::to_string(job.start_time) + "\"}";
}

int become_stoppable(char** command) {
  ::setsid();
  // A write beyond RLIMIT_FSIZE fails with EFBIG then, instead of killing.
  ::signal(SIGXFSZ, SIG_IGN);
  ::execvp(command[0], command);
  std::perror(command[0]);
  return 127;
}

// The driver places module variables where the kernel's mmap puts its reservations. Without
// randomisation that is the same place in every executor, as restore needs (docs/adr/0003).
int become_settled(char** command) {
  const int now = ::personality(0xffffffff);
  if (now < 0 || ::personality(static_cast<unsigned long>(now) | ADDR_NO_RANDOMIZE) < 0) {
    std::perror("personality(ADDR_NO_RANDOMIZE)");
    return 126;
  }
  ::execvp(command[0], command);
  std::perror(command[0]);
  return 127;
}

int stop_writes_of(const char* text) {
  pid_t pid = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, pid);
  if (error != std::errc{} || rest != end || pid <= 0) return 2;
  rlimit limit{};
  if (::prlimit(pid, RLIMIT_FSIZE, nullptr, &limit) != 0) return 1;
  limit.rlim_cur = 0;
  return ::prlimit(pid, RLIMIT_FSIZE, &limit, nullptr) == 0 ? 0 : 1;
}

int keep(bool restoring) {
  fill_standard_fds();
  UniqueFd answer(::fcntl(1, F_DUPFD_CLOEXEC, 3));
  Spec spec;
  MaybeProblem problem = read_spec(0, spec);
  replace_with_null(0);
  replace_with_null(1);
  if (::getsid(0) != ::getpid()) ::setsid();
  UniqueFd listener, signal_fd;
  StdioEnds stdio;
  Started job;
  std::string input;
  if (!problem && ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
    problem = problem_of_errno("becoming the reaper of the job", errno);
  }
  if (!problem) problem = read_initial_input(spec, input);
  if (!problem) problem = listen_on(spec, listener);
  const bool bound = !problem;
  if (!problem) problem = stdio.open(spec);
  if (!problem) problem = watch_signals(signal_fd);
  if (!problem && stdio.is_pty()) {
    stdio.put_typed(input);
    input.clear();
  }
  if (!problem) {
    problem = restoring ? restore_program(spec, stdio, job) : start_program(spec, stdio, job);
  }
  if (problem) {
    if (bound) ::unlink(spec.socket_path.c_str());
    say(answer.get(), to_json(*problem));
    return 1;
  }
  stdio.close_program_side();
  say(answer.get(), started_json(job));
  answer.reset();
  Relay relay(spec, std::move(stdio), job, std::move(signal_fd), std::move(listener),
              std::move(input));
  const int status = relay.run();
  ::unlink(spec.socket_path.c_str());
  // The job's cgroup is empty now. One that is still in use belongs to somebody else by now.
  if (!spec.cgroup.empty()) ::rmdir(spec.cgroup.c_str());
  return status;
}

}  // namespace
}  // namespace phos::keeper

int main(int argc, char** argv) {
  if (argc > 2 && std::string_view(argv[1]) == "stoppable") {
    return phos::keeper::become_stoppable(argv + 2);
  }
  if (argc > 2 && std::string_view(argv[1]) == "settled") {
    return phos::keeper::become_settled(argv + 2);
  }
  if (argc == 3 && std::string_view(argv[1]) == "stop") {
    return phos::keeper::stop_writes_of(argv[2]);
  }
  const std::string_view mode = argc == 2 ? argv[1] : "";
  if (mode == "run") return phos::keeper::keep(false);
  if (mode == "restore") return phos::keeper::keep(true);
  if (mode == "sockets") return phos::keeper::print_unix_peers();
  std::fputs("usage: phos-keeper run|restore|sockets|stoppable COMMAND|stop PID|settled COMMAND\n",
             stderr);
  return 2;
}
