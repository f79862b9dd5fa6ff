// SPDX-License-Identifier: Apache-2.0
// A ring in shared anonymous memory, for tests that fork or start threads.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "ring/consumer.h"
#include "ring/producer.h"
#include "ring/reply.h"

namespace phos::ring::test {

class SharedRing {
 public:
  explicit SharedRing(std::uint32_t data_bytes) : bytes_(ring_bytes(data_bytes)) {
    void* memory =
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    header_ = new (memory) RingHeader{};
    geometry_ = format(header_, data_bytes, {1, 2, 3}, 1);
  }
  ~SharedRing() { munmap(header_, bytes_); }
  SharedRing(const SharedRing&) = delete;
  SharedRing& operator=(const SharedRing&) = delete;

  RingHeader* header() const { return header_; }
  const Geometry& geometry() const { return geometry_; }
  std::size_t bytes() const { return bytes_; }
  std::uint8_t* data() const { return data_of(header_, geometry_); }

 private:
  std::size_t bytes_;
  RingHeader* header_;
  Geometry geometry_;
};

// Writes one record with this payload; returns begin's status.
inline std::uint32_t put(Producer& producer, const RecordFields& fields, const void* bytes,
                         std::size_t size) {
  std::uint8_t* payload = nullptr;
  const std::uint32_t status = producer.begin(fields, size, &payload);
  if (status != 0) return status;
  if (size != 0) std::memcpy(payload, bytes, size);
  producer.commit();
  return 0;
}

}  // namespace phos::ring::test
