// SPDX-License-Identifier: Apache-2.0
#include "relay.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>

namespace phos::keeper {
namespace {

constexpr int kTickMs = 500;  // longest sleep: deadlines are looked at this often
constexpr std::size_t kMaxConnections = 64;
// How long a terminal that was told the end may take to hang up.
constexpr std::chrono::milliseconds kParting{5000};

}  // namespace

Relay::Relay(const Spec& spec, StdioEnds stdio, Started job, UniqueFd signal_fd, UniqueFd listener,
             std::string initial_input)
    : spec_(spec),
      stdio_(std::move(stdio)),
      job_(job),
      signal_fd_(std::move(signal_fd)),
      listener_(std::move(listener)),
      log_out_(spec.log_out, spec.log_limit_bytes),
      log_err_(spec.log_err, spec.log_limit_bytes),
      input_eof_asked_(spec.stdin_eof),
      holding_(spec.hold_ms > 0),
      hold_until_(Clock::now() + std::chrono::milliseconds(spec.hold_ms)) {
  if (!initial_input.empty()) input_.push_back(Input{std::move(initial_input), false});
}

int Relay::run() {
  // The job may have ended before SIGCHLD was watched for.
  reap_children();
  while (!finished()) poll_once();
  return 0;
}

bool Relay::finished() const {
  if (!root_status_ || !no_children_) return false;
  for (const auto& connection : connections_) {
    if (connection->queued_bytes() > 0) return false;
  }
  if (!held_.empty()) return false;
  // The terminal hangs up first. If this end closed before the terminal's last input had come, that
  // write would fail over there, and take with it the news that it had not read yet.
  if (attached_ != nullptr && Clock::now() - told_at_ < kParting) return false;
  return reported_ || Clock::now() - ended_at_ > std::chrono::milliseconds(spec_.linger_ms);
}

void Relay::poll_once() {
  std::vector<pollfd> fds;
  const auto add = [&fds](int fd, short events) {
    // A paused pipe is left out altogether: POLLHUP cannot be masked.
    fds.push_back(pollfd{events == 0 ? -1 : fd, events, 0});
    return fds.size() - 1;
  };
  const bool reading = wants_output();
  const bool writing = !input_.empty() || (input_eof_asked_ && !input_closed_);
  const std::size_t at_signal = add(signal_fd_.get(), POLLIN);
  const std::size_t at_listener = add(listener_.get(), POLLIN);
  const std::size_t at_out = add(stdio_.output(), reading ? POLLIN : short{0});
  const std::size_t at_err = add(stdio_.error(), reading ? POLLIN : short{0});
  const std::size_t at_in = add(stdio_.input(), writing ? POLLOUT : short{0});
  const std::size_t first = fds.size();
  const std::size_t count = connections_.size();
  for (const auto& connection : connections_) {
    const bool sends = connection->queued_bytes() > 0;
    add(connection->fd(), static_cast<short>(POLLIN | (sends ? POLLOUT : 0)));
  }
  if (::poll(fds.data(), fds.size(), kTickMs) < 0 && errno != EINTR) return;
  if (fds[at_signal].revents != 0) on_signal();
  if (fds[at_out].revents != 0) read_stream(Stream::out);
  if (fds[at_err].revents != 0) read_stream(Stream::err);
  if (fds[at_in].revents != 0 || (writing && stdio_.input() < 0)) write_input();
  for (std::size_t i = 0; i < count; ++i) {
    const short got = fds[first + i].revents;
    if ((got & (POLLIN | POLLHUP | POLLERR)) != 0) serve(*connections_[i]);
  }
  // Everything that this turn produced goes out now; what does not fit waits for POLLOUT.
  for (const auto& connection : connections_) connection->write_some();
  if (fds[at_listener].revents != 0) accept_peer();
  end_hold_if_due();
  drop_dead_connections();
}

void Relay::on_signal() {
  signalfd_siginfo info{};
  while (::read(signal_fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    // Asked to end, the keeper asks the job; it stays to report how that went.
    if (info.ssi_signo == SIGTERM && !root_status_) ::kill(-job_.pid, SIGTERM);
  }
  reap_children();
}

void Relay::reap_children() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0) {
      no_children_ = errno == ECHILD;
      return;
    }
    if (pid == 0) return;
    if (pid == job_.pid && !root_status_) on_root_end(status);
  }
}

void Relay::on_root_end(int status) {
  root_status_ = status;
  ended_at_ = Clock::now();
  // What the program wrote last is in the pipes: it goes before the news of its end.
  drain_streams();
  write_exit_file();
  const std::string report = exit_json();
  for (const auto& connection : connections_) {
    if (connection.get() != attached_ && !connection->watching) continue;
    tell_end(*connection, report);
  }
}

void Relay::tell_end(Connection& connection, std::string_view report) {
  connection.send(FrameType::exited, 0, report);
  reported_ = true;
  told_at_ = Clock::now();
}

void Relay::accept_peer() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid() || connections_.size() >= kMaxConnections) return;
  ucred peer{};
  socklen_t bytes = sizeof peer;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return;
  // The job's own user, phosd's user (which this process runs as), and root.
  if (peer.uid != 0 && peer.uid != ::geteuid() && peer.uid != spec_.uid) return;
  connections_.push_back(std::make_unique<Connection>(std::move(fd)));
}

void Relay::drop_dead_connections() {
  if (attached_ != nullptr && attached_->dead()) detach();
  std::erase_if(connections_, [](const auto& connection) { return connection->dead(); });
}

}  // namespace phos::keeper
