// SPDX-License-Identifier: Apache-2.0
// The protocol of keepers/ID.sock: a byte stream of frames, each a FrameHeader and its payload,
// little-endian. src/host/keeper-frames.ts is its other side; both change together.
//
// A peer may ask for the status, watch (hear of the end), or attach (be the program's terminal).
// One peer is attached at a time. Output is delivered to it, with back-pressure: the program's
// pipe is not read while more than kMaxQueuedOutput bytes wait for the peer. Input is counted by
// credit: a peer may have kInputWindow bytes under way, and every byte that reached the program
// is given back by a stdin_credit frame, so that signals and window sizes never wait behind it.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace phos::keeper {

inline constexpr std::uint16_t kFrameVersion = 1;
inline constexpr std::uint32_t kMaxFramePayload = 4U << 20;
inline constexpr std::uint32_t kInputWindow = 256U << 10;
inline constexpr std::size_t kMaxQueuedOutput = 256U << 10;

enum class FrameType : std::uint8_t {
  // To the keeper.
  attach = 1,         // AttachRequest; answered by ok or error
  detach = 2,         // output goes to the log again
  stdin_data = 3,     // bytes for the program
  stdin_eof = 4,      // its input ends
  window_size = 5,    // WindowSize
  signal = 6,         // u32 signal number, to the job's process group
  status = 7,         // answered by status_reply
  watch = 8,          // exited will be sent to this connection too
  flush = 9,          // take everything that is in the pipes now; answered by flushed
  stdin_pending = 10, // answered by pending: input that the program has not read yet
  end_note = 11,      // text that goes into the exit report ("checkpointed to ...")
  release = 12,       // the exit status was taken: the keeper need not linger
  // From the keeper.
  ok = 64,
  error = 65,         // JSON {"error":{code,message}}
  stdout_data = 66,
  stderr_data = 67,
  stdin_credit = 68,  // u32 bytes
  exited = 69,        // JSON, see relay.cc; always after the last data frame
  status_reply = 70,  // JSON
  flushed = 71,       // JSON {"stdoutBytes":"n","stderrBytes":"n"}: taken since the start
  pending = 72,       // bytes
};

struct FrameHeader {
  std::uint32_t bytes;   // of the payload
  std::uint32_t serial;  // of the request that this answers, else 0
  FrameType type;
  std::uint8_t version;  // kFrameVersion
  std::uint16_t zero;
};
static_assert(sizeof(FrameHeader) == 12);

struct WindowSize {
  std::uint16_t rows;
  std::uint16_t columns;
};
static_assert(sizeof(WindowSize) == 4);

inline std::string make_frame(FrameType type, std::uint32_t serial, std::string_view payload) {
  const FrameHeader header{static_cast<std::uint32_t>(payload.size()), serial, type,
                           static_cast<std::uint8_t>(kFrameVersion), 0};
  std::string frame(sizeof header + payload.size(), '\0');
  // SAFETY: FrameHeader is trivially copyable and the string has room for it and the payload.
  std::memcpy(frame.data(), &header, sizeof header);
  if (!payload.empty()) std::memcpy(frame.data() + sizeof header, payload.data(), payload.size());
  return frame;
}

}  // namespace phos::keeper
