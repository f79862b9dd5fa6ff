// SPDX-License-Identifier: Apache-2.0
// Functions that the device provides: vprintf, malloc, free, __assertfail.
#include <cstring>

#include "print.h"
#include "runner.h"

namespace phos::sim::ptx {
namespace {

enum External : std::int64_t { kPrint, kMalloc, kFree, kAssert };

std::uint64_t argument(const Frame& frame, const ParamPlace& place, std::uint32_t lane) {
  std::uint64_t value = 0;
  // SAFETY: lowering placed the argument in the frame.
  std::memcpy(&value, frame.registers + place.slot + std::uint64_t{lane} * place.bytes,
              place.bytes < 8 ? place.bytes : 8);
  return value;
}

void set_result(const Frame& frame, const ParamPlace& place, std::uint32_t lane,
                std::uint64_t value) {
  if (place.slot != kNoSlot) {
    std::memcpy(frame.registers + place.slot + std::uint64_t{lane} * place.bytes, &value,
                place.bytes < 8 ? place.bytes : 8);
  }
}

std::string triple(const Dim3& d) {
  return "[" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + "]";
}

}  // namespace

void Runner::do_external(Warp& warp, const Cursor& cursor, const Instr& instr,
                         std::uint32_t mask) {
  const CallSite& site = cursor.frame->function->calls[instr.target];
  const Frame& frame = *cursor.frame;
  std::uint32_t failed = kNoSlot;
  for (; mask != 0; mask &= mask - 1) {
    const auto lane = static_cast<std::uint32_t>(__builtin_ctz(mask));
    const auto value = [&](std::size_t index) {
      return argument(frame, site.arguments[index], lane);
    };
    const DeviceReader reader{warp, instr, lane};
    switch (static_cast<External>(instr.imm)) {
      case kPrint: {
        int fields = 0;
        services_->print(format_text(reader, value(0), value(1), fields));
        set_result(frame, site.results[0], lane, static_cast<std::uint32_t>(fields));
        break;
      }
      case kMalloc: set_result(frame, site.results[0], lane, services_->allocate(value(0))); break;
      case kFree:
        if (value(0) != 0) {
          services_->release(value(0));
        }
        break;
      case kAssert:
        services_->assertion_failed(
            reader.text(value(1)) + ":" + std::to_string(static_cast<std::uint32_t>(value(2))) +
            ": " + reader.text(value(3)) + ": block: " + triple(warp.block->id) +
            ", thread: " + triple(thread_of(warp, lane)) + " Assertion `" +
            reader.text(value(0)) + "` failed.");
        failed = failed == kNoSlot ? lane : failed;
        break;
    }
  }
  if (failed != kNoSlot) {
    stop(instr, kErrorAssert, failed, 0, "a device-side assertion failed");
  }
}

}  // namespace phos::sim::ptx
