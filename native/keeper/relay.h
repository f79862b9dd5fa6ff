// SPDX-License-Identifier: Apache-2.0
// The keeper's life after the job has started: it moves the job's input and output, serves its
// socket, reaps, reports the end, and goes when nothing is left to do.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connection.h"
#include "log_file.h"
#include "spawn.h"
#include "spec.h"
#include "stdio_ends.h"

namespace phos::keeper {

class Relay {
 public:
  /** `signal_fd` delivers SIGCHLD and SIGTERM; `listener` is the bound, listening socket. */
  Relay(const Spec& spec, StdioEnds stdio, Started job, UniqueFd signal_fd, UniqueFd listener,
        std::string initial_input);

  /** Runs until the job is over and its end was reported; returns the keeper's exit status. */
  int run();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Stream : std::uint8_t { out, err };

  // relay.cc: the loop
  void poll_once();
  void on_signal();
  void reap_children();
  void on_root_end(int status);
  void tell_end(Connection& connection, std::string_view report);
  void accept_peer();
  [[nodiscard]] bool finished() const;
  void drop_dead_connections();

  // relay_data.cc: input and output
  [[nodiscard]] bool wants_output() const;
  void read_stream(Stream stream);
  void drain_streams();
  void deliver(Stream stream, std::string bytes);
  void write_log(Stream stream, std::string_view bytes);
  void write_input();
  void give_back_credit(std::size_t bytes);
  void release_held();
  void end_hold_if_due();
  void attach(Connection& connection, const Frame& frame);
  void detach();

  // relay_requests.cc: what peers ask
  void serve(Connection& connection);
  void answer(Connection& connection, const Frame& frame);
  void take_input(Connection& connection, const Frame& frame);
  void send_signal(Connection& connection, const Frame& frame);
  [[nodiscard]] std::string status_json() const;
  [[nodiscard]] std::string exit_json() const;
  [[nodiscard]] std::string counters_json() const;
  void write_exit_file() const;

  Spec spec_;
  StdioEnds stdio_;
  Started job_;
  UniqueFd signal_fd_;
  UniqueFd listener_;
  LogFile log_out_;
  LogFile log_err_;
  std::vector<std::unique_ptr<Connection>> connections_;
  Connection* attached_ = nullptr;

  struct Input {
    std::string bytes;
    bool credited;  // came from a peer that waits for the credit
  };
  std::deque<Input> input_;
  std::size_t input_sent_of_first_ = 0;
  bool input_eof_asked_ = false;
  bool input_closed_ = false;

  bool holding_ = false;  // output is kept for the first attachment
  Clock::time_point hold_until_;
  std::deque<std::pair<Stream, std::string>> held_;

  std::uint64_t taken_out_ = 0;
  std::uint64_t taken_err_ = 0;
  std::optional<int> root_status_;
  bool no_children_ = false;
  bool reported_ = false;  // somebody has received the exit frame, or asked for the status since
  Clock::time_point ended_at_;
  Clock::time_point told_at_;  // when somebody was last told the end
  std::string end_note_;
};

}  // namespace phos::keeper
