// SPDX-License-Identifier: Apache-2.0
// The job's input and output.
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "relay.h"

namespace phos::keeper {
namespace {

constexpr std::size_t kReadBytes = 64U << 10;
// More than a pipe or a terminal can hold, unless somebody writes while it is emptied.
constexpr std::size_t kDrainBytes = 2U << 20;

}  // namespace

bool Relay::wants_output() const {
  if (holding_) return false;
  return attached_ == nullptr || attached_->queued_bytes() < kMaxQueuedOutput;
}

void Relay::read_stream(Stream stream) {
  const int fd = stream == Stream::out ? stdio_.output() : stdio_.error();
  if (fd < 0) return;
  std::string buffer(kReadBytes, '\0');
  const ssize_t count = ::read(fd, buffer.data(), buffer.size());
  if (count > 0) {
    buffer.resize(static_cast<std::size_t>(count));
    deliver(stream, std::move(buffer));
    return;
  }
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  // The end: every writer has closed. (A terminal says EIO once its session is gone.)
  if (stream == Stream::err) {
    stdio_.close_error();
  } else {
    stdio_.close_output();
  }
}

void Relay::drain_streams() {
  for (const Stream stream : {Stream::out, Stream::err}) {
    std::uint64_t& taken = stream == Stream::out ? taken_out_ : taken_err_;
    const std::uint64_t first = taken;
    std::uint64_t before = 0;
    // A frozen or ended program writes nothing more, so an empty pipe ends this at once; the
    // bound is for a descendant that outlives the root and goes on writing.
    do {
      before = taken;
      read_stream(stream);
    } while (taken != before && taken - first < kDrainBytes);
  }
}

void Relay::deliver(Stream stream, std::string bytes) {
  (stream == Stream::out ? taken_out_ : taken_err_) += bytes.size();
  if (holding_) {
    held_.emplace_back(stream, std::move(bytes));
  } else if (attached_ != nullptr && !attached_->dead()) {
    attached_->send(stream == Stream::out ? FrameType::stdout_data : FrameType::stderr_data, 0,
                    bytes);
  } else {
    write_log(stream, bytes);
  }
}

void Relay::write_log(Stream stream, std::string_view bytes) {
  (stream == Stream::out ? log_out_ : log_err_).append(bytes);
}

void Relay::write_input() {
  while (!input_.empty()) {
    const std::string& bytes = input_.front().bytes;
    const std::size_t left = bytes.size() - input_sent_of_first_;
    ssize_t count = static_cast<ssize_t>(left);
    if (stdio_.input() >= 0 && !input_closed_) {
      count = ::write(stdio_.input(), bytes.data() + input_sent_of_first_, left);
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    // A program that has closed its input takes no more: what is left is dropped, as a shell's
    // pipe would, and the peer is told that it is off its hands.
    if (count < 0) count = static_cast<ssize_t>(left);
    if (input_.front().credited) give_back_credit(static_cast<std::size_t>(count));
    input_sent_of_first_ += static_cast<std::size_t>(count);
    if (input_sent_of_first_ == bytes.size()) {
      input_.pop_front();
      input_sent_of_first_ = 0;
    }
  }
  if (input_eof_asked_ && !input_closed_) {
    stdio_.close_input();
    input_closed_ = true;
  }
}

void Relay::give_back_credit(std::size_t bytes) {
  if (attached_ == nullptr || attached_->dead()) return;
  const auto credit = static_cast<std::uint32_t>(bytes);
  attached_->input_under_way -= std::min(attached_->input_under_way, credit);
  attached_->send(FrameType::stdin_credit, 0,
                  // SAFETY: the four bytes of a little-endian integer on a little-endian machine.
                  std::string_view(reinterpret_cast<const char*>(&credit), sizeof credit));
}

void Relay::release_held() {
  holding_ = false;
  while (!held_.empty()) {
    const auto [stream, bytes] = std::move(held_.front());
    held_.pop_front();
    // Counted when it was taken; deliver would count it again.
    if (attached_ != nullptr && !attached_->dead()) {
      attached_->send(stream == Stream::out ? FrameType::stdout_data : FrameType::stderr_data, 0,
                      bytes);
    } else {
      write_log(stream, bytes);
    }
  }
}

void Relay::end_hold_if_due() {
  if (holding_ && Clock::now() >= hold_until_) release_held();
}

void Relay::attach(Connection& connection, const Frame& frame) {
  if (attached_ != nullptr && attached_ != &connection && !attached_->dead()) {
    connection.send(FrameType::error, frame.serial,
                    to_json(Problem{"CONFLICT", "another terminal is attached to job " + spec_.id +
                                                    "; detach it first"}));
    return;
  }
  WindowSize size{};
  if (frame.payload.size() == sizeof size) {
    // SAFETY: WindowSize is trivially copyable and the payload has its size.
    std::memcpy(&size, frame.payload.data(), sizeof size);
    if (size.rows > 0 && size.columns > 0) stdio_.set_window_size(size.rows, size.columns);
  }
  attached_ = &connection;
  connection.send(FrameType::ok, frame.serial, "");
  release_held();
  if (root_status_) {
    tell_end(connection, exit_json());
  }
}

void Relay::detach() {
  if (attached_ == nullptr) return;
  Connection& gone = *attached_;
  attached_ = nullptr;
  if (gone.dead()) {
    // What it never began to receive is not lost: the log has it.
    for (const Frame& frame : gone.take_unsent()) {
      if (frame.type == FrameType::stdout_data) write_log(Stream::out, frame.payload);
      if (frame.type == FrameType::stderr_data) write_log(Stream::err, frame.payload);
      if (frame.type == FrameType::exited) reported_ = false;
    }
  }
  for (Input& input : input_) input.credited = false;
  gone.input_under_way = 0;
}

}  // namespace phos::keeper
