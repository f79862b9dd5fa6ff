// SPDX-License-Identifier: Apache-2.0
// What peers ask of the keeper, and what it answers.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdio>

#include "relay.h"

namespace phos::keeper {
namespace {

std::string pair_of(const char* name, std::uint64_t value) {
  // Decimal strings: byte counts and clock ticks may pass what a JSON number holds exactly.
  return std::string("\"") + name + "\":\"" + std::to_string(value) + "\"";
}

}  // namespace

void Relay::serve(Connection& connection) {
  connection.receive();
  Frame frame;
  while (connection.next(frame)) answer(connection, frame);
}

void Relay::answer(Connection& connection, const Frame& frame) {
  switch (frame.type) {
    case FrameType::attach:
      attach(connection, frame);
      return;
    case FrameType::detach:
      if (attached_ == &connection) detach();
      connection.send(FrameType::ok, frame.serial, "");
      return;
    case FrameType::stdin_data:
    case FrameType::stdin_eof:
    case FrameType::window_size:
      take_input(connection, frame);
      return;
    case FrameType::signal:
      send_signal(connection, frame);
      return;
    case FrameType::status:
      connection.send(FrameType::status_reply, frame.serial, status_json());
      return;
    case FrameType::watch:
      connection.watching = true;
      connection.send(FrameType::ok, frame.serial, "");
      if (root_status_) {
        tell_end(connection, exit_json());
      }
      return;
    case FrameType::flush:
      drain_streams();
      connection.send(FrameType::flushed, frame.serial, counters_json());
      return;
    case FrameType::stdin_pending: {
      std::string pending = stdio_.peek_input();
      for (std::size_t i = 0; i < input_.size(); ++i) {
        pending += i == 0 ? input_[i].bytes.substr(input_sent_of_first_) : input_[i].bytes;
      }
      connection.send(FrameType::pending, frame.serial, pending);
      return;
    }
    case FrameType::end_note:
      end_note_ = frame.payload;
      connection.send(FrameType::ok, frame.serial, "");
      return;
    case FrameType::release:
      reported_ = reported_ || root_status_.has_value();
      connection.send(FrameType::ok, frame.serial, "");
      return;
    default:
      connection.send(FrameType::error, frame.serial,
                      to_json(Problem{"TRANSPORT", "the keeper knows no such request"}));
      connection.write_some();
      connection.kill();
  }
}

void Relay::take_input(Connection& connection, const Frame& frame) {
  const char* wrong = nullptr;
  if (attached_ != &connection) wrong = "only the attached terminal may send input";
  if (frame.type == FrameType::stdin_data) {
    const auto bytes = static_cast<std::uint32_t>(frame.payload.size());
    connection.input_under_way += bytes;
    if (connection.input_under_way > kInputWindow) wrong = "more input than the window allows";
  }
  if (wrong != nullptr) {
    connection.send(FrameType::error, frame.serial, to_json(Problem{"TRANSPORT", wrong}));
    connection.write_some();
    connection.kill();
    return;
  }
  if (frame.type == FrameType::stdin_data) {
    if (!input_eof_asked_) input_.push_back(Input{frame.payload, true});
    write_input();
  } else if (frame.type == FrameType::stdin_eof) {
    input_eof_asked_ = true;
    write_input();
  } else if (frame.payload.size() == sizeof(WindowSize)) {
    WindowSize size{};
    // SAFETY: WindowSize is trivially copyable and the payload has its size.
    std::memcpy(&size, frame.payload.data(), sizeof size);
    stdio_.set_window_size(size.rows, size.columns);
  }
}

void Relay::send_signal(Connection& connection, const Frame& frame) {
  std::uint32_t number = 0;
  if (frame.payload.size() == sizeof number) {
    // SAFETY: four bytes into an integer of four bytes.
    std::memcpy(&number, frame.payload.data(), sizeof number);
  }
  if (number == 0 || number >= NSIG) {
    connection.send(FrameType::error, frame.serial,
                    to_json(Problem{"USAGE", "there is no such signal"}));
    return;
  }
  // The root leads its process group. Once reaped, its number may belong to somebody else.
  if (root_status_ || ::kill(-job_.pid, static_cast<int>(number)) != 0) {
    connection.send(FrameType::error, frame.serial,
                    to_json(Problem{"NOT_FOUND", "job " + spec_.id + " has ended"}));
    return;
  }
  connection.send(FrameType::ok, frame.serial, "");
}

std::string Relay::counters_json() const {
  return "{" + pair_of("stdoutBytes", taken_out_) + "," + pair_of("stderrBytes", taken_err_) + "}";
}

std::string Relay::status_json() const {
  const std::string exit = root_status_ ? exit_json() : "null";
  return "{\"id\":\"" + json_escape(spec_.id) + "\",\"keeperPid\":" + std::to_string(::getpid()) +
         ",\"pid\":" + std::to_string(job_.pid) + "," + pair_of("startTime", job_.start_time) +
         ",\"attached\":" + (attached_ != nullptr ? "true" : "false") +
         ",\"stdio\":" + stdio_.description() + ",\"termios\":\"" + stdio_.termios_hex() +
         "\",\"stdinEof\":" + (input_eof_asked_ ? "true" : "false") +
         ",\"logOut\":\"" + json_escape(spec_.log_out) + "\",\"logErr\":\"" +
         json_escape(spec_.log_err) + "\",\"counters\":" + counters_json() + "," +
         pair_of("logLostBytes", log_out_.lost_bytes() + log_err_.lost_bytes()) +
         ",\"exit\":" + exit + "}";
}

std::string Relay::exit_json() const {
  const int status = root_status_.value_or(0);
  const std::string code = WIFEXITED(status) ? std::to_string(WEXITSTATUS(status)) : "null";
  const std::string signal = WIFSIGNALED(status) ? std::to_string(WTERMSIG(status)) : "null";
  return "{\"pid\":" + std::to_string(job_.pid) + ",\"code\":" + code + ",\"signal\":" + signal +
         ",\"note\":\"" + json_escape(end_note_) + "\"}";
}

void Relay::write_exit_file() const {
  if (spec_.exit_file.empty()) return;
  const std::string temporary = spec_.exit_file + ".new";
  // The file is a second way to learn the end; the socket and its linger time are the first.
  std::FILE* file = std::fopen(temporary.c_str(), "we");
  if (file == nullptr) return;
  std::fputs((exit_json() + "\n").c_str(), file);
  if (std::fclose(file) == 0) std::rename(temporary.c_str(), spec_.exit_file.c_str());
}

}  // namespace phos::keeper
