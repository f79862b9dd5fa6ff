// SPDX-License-Identifier: Apache-2.0
// The second phase of a save: what was held, copied or hashed at the cut goes into the image.
#include <algorithm>

#include "executor/device_port.h"
#include "executor/save_job.h"

namespace phos::executor {

// Reads the cut's bytes where they are: in the copy, or in place.
class SaveJob::Port : public DevicePort {
 public:
  Port(SaveJob& job)
      : DevicePort(job.session_.driver(), job.session_.context(), job.options_.image.lanes),
        job_(job) {}
  void read(std::uint32_t lane, std::uint64_t address, void* to, std::size_t bytes) override {
    job_.throw_if_aborted();
    if (job_.mode_ == SaveMode::stop) {
      DevicePort::read(lane, address, to, bytes);
    } else if (const std::uint64_t shadow = job_.shadow_of(address); shadow != 0) {
      DevicePort::read(lane, shadow, to, bytes);
    } else {
      job_.cow_->read(lane, address, to, bytes);
    }
  }

 private:
  SaveJob& job_;
};

std::uint64_t SaveJob::shadow_of(std::uint64_t address) const {
  auto it = std::upper_bound(copies_.begin(), copies_.end(), address,
                             [](std::uint64_t at, const Copy& copy) { return at < copy.address; });
  if (it == copies_.begin()) return 0;
  --it;
  if (address - it->address >= it->bytes) return 0;
  return shadow_->address() + it->shadow + (address - it->address);
}

// Of every chunk as it was at the cut; empty where the device cannot tell.
std::vector<Digest> SaveJob::change_hashes() {
  std::vector<Digest> digests;
  if (cow_) {
    for (const ChangeHash& hash : cow_->hashes()) digests.push_back(change_digest_of(hash));
    return digests;
  }
  std::vector<std::uint64_t> places;
  for (const MemoryRange& range : snapshot_.ranges) {
    for (std::uint64_t at = 0; at < range.bytes; at += kChunkBytes) {
      const std::uint64_t address = range.address + at;
      places.push_back(mode_ == SaveMode::stop ? address : shadow_of(address));
    }
  }
  check_driver(session_.driver(), session_.driver().cuCtxSetCurrent(session_.context()),
               "Entering the context");
  for (const ChangeHash& hash :
       hasher_.hash_all(session_.device(), places, change_key_of(seed_))) {
    digests.push_back(change_digest_of(hash));
  }
  return digests;
}

SaveReport SaveJob::finish(const Progress& progress) {
  throw_if_aborted();
  SaveReport report;
  report.mode = mode_;
  if (cow_) {
    check_driver(session_.driver(), session_.driver().cuCtxSetCurrent(session_.context()),
                 "Entering the context");
    cow_->await_hashes();
  }
  WriteOptions image = options_.image;
  image.seed = seed_;
  ImageWriter writer(options_.directory, image);
  Port port(*this);
  DeviceSource source(
      snapshot_, port, writer.seed() == seed_ ? change_hashes() : std::vector<Digest>{},
      writer.parent(), image.content || image.share,
      [this](std::uint64_t address) { if (cow_) cow_->skip(address); });
  writer.drain(source, source.total(), progress);
  report.image = writer.finish(snapshot_);
  report.image.moved_bytes = source.read_bytes();
  throw_if_aborted();
  if (mode_ == SaveMode::stop) return report;
  report.copied_bytes = copied_bytes_;
  report.hashed_bytes = cow_ ? device_bytes_ - copied_bytes_ : 0;
  const SessionLock lock(session_);
  session_.enter_context();
  report.hold = hold_.figures();
  if (cow_) report.aside = cow_->figures();
  if (report.aside.missed != 0) {
    for (const auto& [wire, name] : kernels_) report.suspects.push_back(name);
  }
  return report;
}

}  // namespace phos::executor
