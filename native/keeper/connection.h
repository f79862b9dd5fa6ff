// SPDX-License-Identifier: Apache-2.0
// One peer of the keeper's socket: frames in, frames out, never blocking.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "frames.h"
#include "unique_fd.h"

namespace phos::keeper {

struct Frame {
  FrameType type;
  std::uint32_t serial;
  std::string payload;
};

class Connection {
 public:
  explicit Connection(UniqueFd fd) : fd_(std::move(fd)) {}

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] bool dead() const noexcept { return dead_; }
  void kill() noexcept { dead_ = true; }

  /** Reads what is there; false when the peer has gone or broke the protocol. */
  bool receive();
  /** The next whole frame, if one has arrived; false if not (or the peer broke the protocol, which
   *  dead() then says). */
  bool next(Frame& frame);

  void send(FrameType type, std::uint32_t serial, std::string_view payload);
  /** Writes as much as the peer takes; false when it has gone. */
  bool write_some();
  [[nodiscard]] std::size_t queued_bytes() const noexcept { return queued_bytes_; }
  /** Takes back the frames that the peer has not begun to receive. */
  std::deque<Frame> take_unsent();

  bool watching = false;
  std::uint32_t input_under_way = 0;  // bytes of its window that are not given back yet

 private:
  struct Outgoing {
    FrameType type;
    std::string bytes;  // header and payload
  };

  UniqueFd fd_;
  std::string received_;
  std::size_t consumed_ = 0;
  std::deque<Outgoing> outgoing_;
  std::size_t sent_of_first_ = 0;
  std::size_t queued_bytes_ = 0;
  bool dead_ = false;
};

}  // namespace phos::keeper
