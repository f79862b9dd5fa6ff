// SPDX-License-Identifier: Apache-2.0
// The consumer over a ring of which the client has written every byte, cursors included.
#include <sys/mman.h>

#include <new>

#include "ring/consumer.h"
#include "target.h"

namespace {

using namespace phos;

constexpr std::uint32_t kDataBytes = 4096;
constexpr std::size_t kPage = 4096;

// A page that may not be touched lies on either side of the ring.
std::uint8_t* guarded_ring(std::size_t bytes) {
  auto* raw = static_cast<std::uint8_t*>(
      ::mmap(nullptr, bytes + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  fuzz::require(raw != MAP_FAILED && ::mprotect(raw + kPage, bytes, PROT_READ | PROT_WRITE) == 0,
                "memory for the ring");
  return raw + kPage;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::size_t bytes = ring_bytes(kDataBytes);
  static std::uint8_t* base = guarded_ring(bytes);
  fuzz::Input input(data, size);
  auto* header = new (base) RingHeader{};
  const std::uint8_t id[16] = {1};
  const ring::Geometry geometry = ring::format(header, kDataBytes, id, 1);
  const auto choices = input.get<std::uint8_t>();
  const auto tail = input.get<std::uint64_t>();
  header->tail.store((choices & 1U) != 0 ? tail : tail & ~std::uint64_t{kRecordAlign - 1});
  const auto ahead = input.get<std::uint16_t>();
  header->head.store(header->tail.load() + ((choices & 2U) != 0 ? ahead : ahead / 32U * 32U));
  // Bytes of the header's first line, which the consumer reads once, at any place.
  for (unsigned i = 0; i < (choices >> 4U) && i < 4; ++i) {
    base[input.get<std::uint8_t>() % 48U] = input.get<std::uint8_t>();
  }
  std::uint8_t* records = base + geometry.data_offset;
  const auto rest = input.rest();
  std::memset(records, 0, kDataBytes);
  if (!rest.empty()) std::memcpy(records, rest.data(), std::min<std::size_t>(rest.size(), 4096));

  ring::Consumer consumer;
  if (consumer.open(base, bytes) != ring::Fault::none) return 0;
  header->data_bytes = 0xFFFFFFFF;  // too late: it has been read
  ring::Record record;
  std::uint64_t taken = 0;
  ring::Next next = ring::Next::record;
  while ((next = consumer.next(&record)) == ring::Next::record) {
    const std::uint8_t* begin = record.payload.data();
    fuzz::require(begin >= records && begin + record.payload.size() <= records + kDataBytes,
                  "a payload lies in the ring");
    taken += sizeof(RecordHeader) + record.payload.size();
    fuzz::require(taken <= kDataBytes, "no more is taken than a ring holds");
    consumer.publish_tail();
  }
  return 0;
}
