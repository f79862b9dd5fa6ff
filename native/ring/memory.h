// SPDX-License-Identifier: Apache-2.0
// Where things lie in a mapped ring.
#pragma once

#include <cstring>

#include "phos/ring_layout.h"

namespace phos::ring {

// Sizes of a ring, copied out of the header once and never read from it again.
struct Geometry {
  std::uint32_t reply_slots;
  std::uint32_t data_offset;
  std::uint32_t data_bytes;  // a power of two
};

inline std::uint8_t* bytes_of(RingHeader* header) noexcept {
  return reinterpret_cast<std::uint8_t*>(header);
}
// SAFETY (both): the caller's geometry was checked against the size of the mapping.
inline ReplySlot* reply_slots_of(RingHeader* header) noexcept {
  return reinterpret_cast<ReplySlot*>(bytes_of(header) + kRingHeaderBytes);
}
inline std::uint8_t* data_of(RingHeader* header, const Geometry& geometry) noexcept {
  return bytes_of(header) + geometry.data_offset;
}

// Writes the header of a new ring into zeroed memory of ring_bytes(data_bytes) bytes.
inline Geometry format(RingHeader* header, std::uint32_t data_bytes, const std::uint8_t (&id)[16],
                       std::uint32_t pid) noexcept {
  header->magic = kRingMagic;
  header->version = kRingVersion;
  header->header_bytes = kRingHeaderBytes;
  header->reply_slots = kReplySlots;
  header->reply_slot_bytes = sizeof(ReplySlot);
  header->data_offset =
      kRingHeaderBytes + kReplySlots * static_cast<std::uint32_t>(sizeof(ReplySlot));
  header->data_bytes = data_bytes;
  header->client_pid = pid;
  std::memcpy(header->client_id, id, sizeof(id));
  return Geometry{kReplySlots, header->data_offset, data_bytes};
}

}  // namespace phos::ring
