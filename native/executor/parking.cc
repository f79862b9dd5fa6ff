// SPDX-License-Identifier: Apache-2.0
#include "executor/parking.h"

#include <cstring>

namespace phos::executor {

namespace {

// Streams 0 and 1 are the legacy stream, which waits for all blocking streams and holds them back.
bool is_legacy(std::uint64_t stream) noexcept { return stream <= 1; }

}  // namespace

OwnedCommand::OwnedCommand(const Command& command)
    : header(command.header()),
      words(std::make_unique<Word[]>((command.payload().size() + kRecordAlign - 1) /
                                     kRecordAlign)),
      bytes(command.payload().size()) {
  if (bytes != 0) std::memcpy(words.get(), command.payload().data(), bytes);
}

void Parking::hold(Held& held, const OrderPlace& place) {
  if (place.stream) ++held.streams[*place.stream];
  if (place.records != 0) ++held.events[place.records];
  ++held.all;
}

bool Parking::is_held(const Held& held, const OrderPlace& place) {
  if (place.after_everything && held.all != 0) return true;
  if (place.needs != 0 && held.events.contains(place.needs)) return true;
  if (place.needs_too != 0 && held.events.contains(place.needs_too)) return true;
  if (!place.stream) return false;
  if (held.streams.contains(*place.stream)) return true;
  if (!held.streams.empty()) {
    // A stream that does not block would not have to wait here; that costs concurrency, not order.
    if (is_legacy(*place.stream)) return true;
    if (held.streams.contains(0) || held.streams.contains(1)) return true;
  }
  return place.counts && streams_.is_full(*place.stream);
}

bool Parking::must_park(const Command& command, const OrderPlace& place) {
  return must_wait(place) || !admit_(command, place);
}

void Parking::park(const Command& command, const OrderPlace& place) {
  commands_.push_back({OwnedCommand(command), place});
  bytes_ += command.payload().size() + sizeof(Parked);
  hold(held_, place);
}

void Parking::release(const std::function<void(const Command&, const OrderPlace&)>& run) {
  Held held;
  for (auto it = commands_.begin(); it != commands_.end();) {
    if (is_held(held, it->place) || !admit_(it->command.view(), it->place)) {
      hold(held, it->place);
      ++it;
      continue;
    }
    run(it->command.view(), it->place);
    bytes_ -= it->command.bytes + sizeof(Parked);
    it = commands_.erase(it);
  }
  held_ = std::move(held);
}

void Parking::clear() {
  commands_.clear();
  held_ = Held{};
  bytes_ = 0;
}

}  // namespace phos::executor
