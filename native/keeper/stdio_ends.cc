// SPDX-License-Identifier: Apache-2.0
#include "stdio_ends.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace phos::keeper {
namespace {

bool make_pipe(UniqueFd& read_end, UniqueFd& write_end) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  read_end.reset(ends[0]);
  write_end.reset(ends[1]);
  return true;
}

bool set_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

std::string pipe_name(int fd) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) return "";
  return "pipe:[" + std::to_string(facts.st_ino) + "]";
}

/** A reading end of the pipe whose writing end is `fd`. */
UniqueFd open_for_reading(int fd) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
}

std::string hex(const void* data, std::size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  // SAFETY: the caller hands the bytes of one trivially copyable object.
  const auto* byte = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i < bytes; ++i) {
    out += kDigits[byte[i] >> 4];
    out += kDigits[byte[i] & 15];
  }
  return out;
}

bool unhex(const std::string& text, void* data, std::size_t bytes) {
  if (text.size() != bytes * 2) return false;
  // SAFETY: `data` has room for `bytes` bytes of one trivially copyable object.
  auto* byte = static_cast<unsigned char*>(data);
  for (std::size_t i = 0; i < bytes; ++i) {
    unsigned value = 0;
    if (std::sscanf(text.c_str() + i * 2, "%2x", &value) != 1) return false;
    byte[i] = static_cast<unsigned char>(value);
  }
  return true;
}

/** Waits, a tenth of a second at most, until the line discipline, which works in the background,
 *  has taken what was written to the master. Whole lines can be counted; poll() has it take the
 *  rest. */
void wait_for_input(int slave, std::string_view bytes) {
  const std::size_t last_line = bytes.rfind('\n');
  const auto whole = static_cast<int>(last_line == std::string_view::npos ? 0 : last_line + 1);
  for (int round = 0; round < 50; ++round) {
    pollfd waited{slave, POLLIN, 0};
    ::poll(&waited, 1, 2);
    int available = 0;
    if (::ioctl(slave, FIONREAD, &available) == 0 && available >= whole && round > 1) return;
  }
}

}  // namespace

MaybeProblem StdioEnds::open(const Spec& spec) {
  return spec.pty ? open_pty(spec) : open_pipes(spec);
}

MaybeProblem StdioEnds::open_pipes(const Spec& spec) {
  if (!make_pipe(in_read_, in_write_) || !make_pipe(out_read_, out_write_) ||
      !make_pipe(err_read_, err_write_)) {
    return problem_of_errno("making the job's pipes", errno);
  }
  for (const int fd : {in_write_.get(), out_read_.get(), err_read_.get()}) {
    if (!set_nonblocking(fd)) return problem_of_errno("setting up the job's pipes", errno);
  }
  if (::geteuid() == 0) {
    for (const int fd : {in_read_.get(), out_write_.get(), err_write_.get()}) {
      if (::fchown(fd, spec.uid, spec.gid) != 0) {
        return problem_of_errno("giving the job's pipes to its user", errno);
      }
    }
  }
  description_ = "{\"kind\":\"pipes\",\"stdin\":\"" + pipe_name(in_read_.get()) +
                 "\",\"stdout\":\"" + pipe_name(out_write_.get()) + "\",\"stderr\":\"" +
                 pipe_name(err_write_.get()) + "\"}";
  return std::nullopt;
}

MaybeProblem StdioEnds::open_pty(const Spec& spec) {
  master_.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master_.valid()) return problem_of_errno("opening a terminal for the job", errno);
  if (::grantpt(master_.get()) != 0 || ::unlockpt(master_.get()) != 0) {
    return problem_of_errno("unlocking the job's terminal", errno);
  }
  slave_.reset(::ioctl(master_.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave_.valid()) return problem_of_errno("opening the job's side of its terminal", errno);
  if (!set_nonblocking(master_.get())) return problem_of_errno("setting up the terminal", errno);
  if (::geteuid() == 0 && ::fchown(slave_.get(), spec.uid, spec.gid) != 0) {
    return problem_of_errno("giving the job's terminal to its user", errno);
  }
  if (!spec.termios.empty()) {
    struct termios settings {};
    if (!unhex(spec.termios, &settings, sizeof settings) ||
        ::tcsetattr(slave_.get(), TCSANOW, &settings) != 0) {
      return Problem{"IMAGE_INVALID", "the terminal settings in the image cannot be applied"};
    }
  }
  set_window_size(spec.rows, spec.columns);
  struct stat facts {};
  if (::fstat(slave_.get(), &facts) != 0) return problem_of_errno("reading the terminal", errno);
  char name[64];
  std::snprintf(name, sizeof name, "tty[%lx:%lx]", static_cast<unsigned long>(facts.st_rdev),
                static_cast<unsigned long>(facts.st_dev));
  description_ = "{\"kind\":\"pty\",\"tty\":\"" + std::string(name) + "\"}";
  return std::nullopt;
}

int StdioEnds::program_in() const noexcept { return is_pty() ? slave_.get() : in_read_.get(); }
int StdioEnds::program_out() const noexcept { return is_pty() ? slave_.get() : out_write_.get(); }
int StdioEnds::program_err() const noexcept { return is_pty() ? slave_.get() : err_write_.get(); }

void StdioEnds::close_program_side() {
  in_read_.reset();
  out_write_.reset();
  err_write_.reset();
}

void StdioEnds::close_input() {
  if (!is_pty()) {
    // A reading end stays, so that a dump can still see what the program has not read.
    if (in_write_.valid()) in_peek_ = open_for_reading(in_write_.get());
    in_write_.reset();
    return;
  }
  // A terminal's input ends with its end-of-file character, if it has one.
  struct termios settings {};
  if (::tcgetattr(master_.get(), &settings) != 0) return;
  const auto end_of_file = static_cast<char>(settings.c_cc[VEOF]);
  if ((settings.c_lflag & ICANON) != 0 && end_of_file != '\0') {
    // A full terminal has input to read: it will see no end, and that is what a terminal does.
    [[maybe_unused]] const ssize_t count = ::write(master_.get(), &end_of_file, 1);
  }
}

void StdioEnds::set_window_size(std::uint16_t rows, std::uint16_t columns) {
  if (!is_pty()) return;
  struct winsize size {};
  size.ws_row = rows;
  size.ws_col = columns;
  ::ioctl(master_.get(), TIOCSWINSZ, &size);
}

std::string StdioEnds::termios_hex() const {
  struct termios settings {};
  if (!slave_.valid() || ::tcgetattr(slave_.get(), &settings) != 0) return "";
  return hex(&settings, sizeof settings);
}

std::string StdioEnds::peek_input() const {
  std::string bytes;
  if (is_pty()) {
    bytes = take_typed();
    put_typed(bytes);
    return bytes;
  }
  UniqueFd opened;
  if (in_write_.valid()) opened = open_for_reading(in_write_.get());
  const int source = opened.valid() ? opened.get() : in_peek_.get();
  UniqueFd copy_read, copy_write;
  if (source < 0 || !make_pipe(copy_read, copy_write)) return bytes;
  // tee() copies what is in the pipe without taking it.
  const int capacity = ::fcntl(source, F_GETPIPE_SZ);
  if (capacity > 0) ::fcntl(copy_write.get(), F_SETPIPE_SZ, capacity);
  const ssize_t copied = ::tee(source, copy_write.get(),
                               static_cast<std::size_t>(capacity > 0 ? capacity : 65536),
                               SPLICE_F_NONBLOCK);
  if (copied <= 0) return bytes;
  bytes.resize(static_cast<std::size_t>(copied));
  std::size_t got = 0;
  while (got < bytes.size()) {
    const ssize_t count = ::read(copy_read.get(), bytes.data() + got, bytes.size() - got);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    got += static_cast<std::size_t>(count);
  }
  bytes.resize(got);
  return bytes;
}

std::string StdioEnds::take_typed() const {
  struct termios settings {};
  if (::tcgetattr(slave_.get(), &settings) != 0) return "";
  // In canonical mode an unfinished line cannot be read; in raw mode everything can.
  struct termios raw = settings;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  if (::tcsetattr(slave_.get(), TCSANOW, &raw) != 0) return "";
  const UniqueFd reader(::ioctl(master_.get(), TIOCGPTPEER, O_RDONLY | O_NOCTTY | O_NONBLOCK));
  std::string bytes;
  char buffer[4096];
  for (ssize_t count; (count = ::read(reader.get(), buffer, sizeof buffer)) > 0;) {
    bytes.append(buffer, static_cast<std::size_t>(count));
  }
  ::tcsetattr(slave_.get(), TCSANOW, &settings);
  return bytes;
}

void StdioEnds::put_typed(std::string_view bytes) const {
  struct termios settings {};
  if (bytes.empty() || ::tcgetattr(slave_.get(), &settings) != 0) return;
  struct termios plain = settings;
  plain.c_iflag = 0;
  plain.c_lflag = settings.c_lflag & static_cast<tcflag_t>(ICANON);
  for (const int character : {VERASE, VKILL, VEOF, VEOL}) plain.c_cc[character] = _POSIX_VDISABLE;
  if (::tcsetattr(slave_.get(), TCSANOW, &plain) != 0) return;
  // It was in there before, so there is room; a terminal holds 4 KiB and the master takes them all.
  [[maybe_unused]] const ssize_t count = ::write(master_.get(), bytes.data(), bytes.size());
  wait_for_input(slave_.get(), bytes);
  ::tcsetattr(slave_.get(), TCSANOW, &settings);
}

}  // namespace phos::keeper
