// SPDX-License-Identifier: Apache-2.0
// One command taken from the ring, and its answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "gen/call_ids.h"
#include "phos/cuda_abi.h"
#include "phos/ring_layout.h"

namespace phos::executor {

class Session;

// A record in the executor's own memory: nothing that the client writes later can change it. The
// bytes belong to whoever made the command and outlive the handler that is given it.
class Command {
 public:
  Command(const RecordHeader& header, std::span<const std::uint8_t> payload) noexcept
      : header_(header), payload_(payload) {}

  CallId call() const noexcept { return static_cast<CallId>(header_.op); }
  bool is_sync() const noexcept { return (header_.flags & kRecordSync) != 0; }
  std::uint64_t context() const noexcept { return header_.context; }
  const RecordHeader& header() const noexcept { return header_; }
  std::span<const std::uint8_t> payload() const noexcept { return payload_; }

  // The request at the start of the payload; null when the payload is too small for it.
  template <class T>
  const T* as() const noexcept {
    // SAFETY: payloads are aligned to kRecordAlign, and T is a plain structure of the codec.
    return payload_.size() < sizeof(T) ? nullptr : reinterpret_cast<const T*>(payload_.data());
  }
  // Bytes of the payload; null unless [offset, offset + bytes) lies within it.
  const std::uint8_t* blob(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    if (offset > payload_.size() || bytes > payload_.size() - offset) return nullptr;
    return payload_.data() + offset;
  }

 private:
  RecordHeader header_;
  std::span<const std::uint8_t> payload_;
};

// The answer to one command. A handler finishes it once, now or later, on any thread; a copy may be
// kept for that. An async command has no one waiting: an error there is counted and named.
class Reply {
 public:
  Reply(Session* session, const RecordHeader& header) noexcept
      : session_(session), header_(header) {}

  // `bytes` at `data` go to the client's reply slot; at most kReplyInlineBytes.
  void finish(CUresult status, const void* data = nullptr, std::size_t bytes = 0) noexcept {
    settled_ = true;
    if (is_sync() || status != CUDA_SUCCESS) send(status, data, bytes);
  }

  const RecordHeader& header() const noexcept { return header_; }
  bool is_sync() const noexcept { return (header_.flags & kRecordSync) != 0; }
  // True once finish() or postpone() was called on this very object.
  bool settled() const noexcept { return settled_; }
  // Says that a copy of this reply will be finished later.
  void postpone() noexcept { settled_ = true; }

 private:
  void send(CUresult status, const void* data, std::size_t bytes) noexcept;

  Session* session_;
  RecordHeader header_;
  bool settled_ = false;
};

using Handler = void (*)(Session&, const Command&, Reply&);

}  // namespace phos::executor
