// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <sys/socket.h>

#include <cerrno>

namespace phos::keeper {

bool Connection::receive() {
  // One read for each turn of the loop: a peer that never stops cannot keep the others waiting.
  char buffer[65536];
  const ssize_t count = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (count < 0) {
    if (errno == EAGAIN || errno == EINTR) return true;
    dead_ = true;
    return false;
  }
  if (count == 0) {
    dead_ = true;
    return false;
  }
  if (consumed_ > 0) {
    received_.erase(0, consumed_);
    consumed_ = 0;
  }
  received_.append(buffer, static_cast<std::size_t>(count));
  return true;
}

bool Connection::next(Frame& frame) {
  FrameHeader header;
  if (dead_ || received_.size() - consumed_ < sizeof header) return false;
  // SAFETY: the buffer holds at least a header here, which is trivially copyable.
  std::memcpy(&header, received_.data() + consumed_, sizeof header);
  if (header.version != kFrameVersion || header.zero != 0 || header.bytes > kMaxFramePayload) {
    dead_ = true;
    return false;
  }
  if (received_.size() - consumed_ < sizeof header + header.bytes) return false;
  frame.type = header.type;
  frame.serial = header.serial;
  frame.payload.assign(received_, consumed_ + sizeof header, header.bytes);
  consumed_ += sizeof header + header.bytes;
  return true;
}

void Connection::send(FrameType type, std::uint32_t serial, std::string_view payload) {
  if (dead_) return;
  outgoing_.push_back(Outgoing{type, make_frame(type, serial, payload)});
  queued_bytes_ += outgoing_.back().bytes.size();
}

bool Connection::write_some() {
  while (!dead_ && !outgoing_.empty()) {
    const std::string& bytes = outgoing_.front().bytes;
    const ssize_t count = ::send(fd_.get(), bytes.data() + sent_of_first_,
                                 bytes.size() - sent_of_first_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return true;
    if (count < 0) {
      dead_ = true;
      return false;
    }
    sent_of_first_ += static_cast<std::size_t>(count);
    queued_bytes_ -= static_cast<std::size_t>(count);
    if (sent_of_first_ == bytes.size()) {
      outgoing_.pop_front();
      sent_of_first_ = 0;
    }
  }
  return !dead_;
}

std::deque<Frame> Connection::take_unsent() {
  std::deque<Frame> frames;
  if (sent_of_first_ > 0) outgoing_.pop_front();
  for (const Outgoing& out : outgoing_) {
    frames.push_back(Frame{out.type, 0, out.bytes.substr(sizeof(FrameHeader))});
  }
  outgoing_.clear();
  sent_of_first_ = 0;
  queued_bytes_ = 0;
  return frames;
}

}  // namespace phos::keeper
