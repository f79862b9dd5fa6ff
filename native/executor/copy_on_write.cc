// SPDX-License-Identifier: Apache-2.0
#include "executor/copy_on_write.h"

#include <algorithm>
#include <cstring>

#include "executor/device_port.h"
#include "executor/failure.h"
#include "executor/planted.h"
#include "executor/session.h"

namespace phos::executor {

namespace {

CUevent make_event(const DriverTable& driver) {
  CUevent event = nullptr;
  check_driver(driver, driver.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING),
               "Making an event for copies");
  return event;
}

CUstream make_stream(const DriverTable& driver) {
  CUstream stream = nullptr;
  check_driver(driver, driver.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING),
               "Making a stream for copies");
  return stream;
}

}  // namespace

CopyOnWrite::CopyOnWrite(Session& session, ChangeHasher& hasher, ChangeKey key,
                         std::uint32_t lanes)
    : session_(session), hasher_(hasher), key_(key), lanes_(lanes) {}

CopyOnWrite::~CopyOnWrite() {
  const DriverTable& driver = session_.driver();
  driver.cuCtxSetCurrent(session_.context());
  for (Lane& lane : lanes_) {
    if (lane.event != nullptr) driver.cuEventDestroy(lane.event);
    if (lane.stream != nullptr) driver.cuStreamDestroy(lane.stream);
  }
  if (aside_event_ != nullptr) driver.cuEventDestroy(aside_event_);
  if (aside_stream_ != nullptr) driver.cuStreamDestroy(aside_stream_);
}

std::uint64_t CopyOnWrite::scratch_bytes(std::size_t chunks) noexcept {
  return ChangeHasher::scratch_bytes(chunks);
}

void CopyOnWrite::prepare(const std::vector<MemoryRange>& ranges, std::uint64_t scratch,
                          std::uint64_t pool, std::uint32_t slots) {
  const DriverTable& driver = session_.driver();
  std::vector<std::uint64_t> table;
  for (const MemoryRange& range : ranges) {
    for (std::uint64_t at = 0; at < range.bytes; at += kChunkBytes) {
      chunks_.push_back({range.address + at});
      table.push_back(range.address + at);
    }
  }
  figures_.chunks = chunks_.size();
  scratch_ = scratch;
  pool_ = pool;
  for (std::uint32_t slot = slots; slot != 0; --slot) free_slots_.push_back(slot - 1);
  for (Lane& lane : lanes_) {
    lane.stream = make_stream(driver);
    lane.event = make_event(driver);
  }
  aside_stream_ = make_stream(driver);
  aside_event_ = make_event(driver);
  hashes_.resize(chunks_.size());
  if (table.empty()) return;
  // The device is not held yet, and this stream has nothing else to do.
  check_driver(driver,
               driver.cuMemcpyHtoDAsync(scratch_, table.data(), table.size() * sizeof(table[0]),
                                        aside_stream_),
               "Uploading the table of chunks");
  check_driver(driver, driver.cuStreamSynchronize(aside_stream_), "Uploading the table of chunks");
}

void CopyOnWrite::submit_hash(DeviceHold& hold) {
  hold.count_call(2);
  check_driver(session_.driver(),
               hasher_.launch(scratch_, chunks_.size(), key_, hold.stream()),
               "Hashing memory at the cut");
}

void CopyOnWrite::submit_order(DeviceHold& hold) {
  const DriverTable& driver = session_.driver();
  check_driver(driver, driver.cuStreamWaitEvent(aside_stream_, hold.end_event(), 0),
               "Ordering copies behind the cut");
}

void CopyOnWrite::await_hashes() {
  if (chunks_.empty()) return;
  const DriverTable& driver = session_.driver();
  const std::uint64_t from = ChangeHasher::hashes_at(scratch_, chunks_.size());
  const CUstream stream = lanes_[0].stream;
  check_driver(driver,
               driver.cuMemcpyDtoHAsync(hashes_.data(), from,
                                        chunks_.size() * sizeof(ChangeHash), stream),
               "Reading the cut's hashes");
  check_driver(driver, driver.cuStreamSynchronize(stream), "Reading the cut's hashes");
}

std::size_t CopyOnWrite::index_of(std::uint64_t address) const noexcept {
  const auto found = std::upper_bound(
      chunks_.begin(), chunks_.end(), address,
      [](std::uint64_t at, const Chunk& chunk) { return at < chunk.address + kChunkBytes; });
  return static_cast<std::size_t>(found - chunks_.begin());
}

void CopyOnWrite::collect(const WriteSet& set) {
  current_.clear();
  if (set.everything) {
    for (std::size_t i = 0; i < chunks_.size(); ++i) current_.push_back(i);
    return;
  }
  for (const MemoryRange& range : set.ranges) {
    for (std::size_t i = index_of(range.address);
         i < chunks_.size() && chunks_[i].address < range.address + range.bytes; ++i) {
      current_.push_back(i);
    }
  }
}

CUresult CopyOnWrite::copy_aside(Chunk& chunk) {
  chunk.slot = free_slots_.back();
  const CUresult result = session_.driver().cuMemcpyDtoDAsync(
      pool_ + std::uint64_t{chunk.slot} * kChunkBytes, chunk.address, kChunkBytes, aside_stream_);
  if (result != CUDA_SUCCESS) return result;
  free_slots_.pop_back();
  chunk.where = Where::aside;
  ++figures_.copied_aside;
  return CUDA_SUCCESS;
}

CUresult CopyOnWrite::flush_planted() {
  for (const std::size_t i : planted_) {
    if (chunks_[i].where != Where::unsaved || free_slots_.empty()) continue;
    if (const CUresult result = copy_aside(chunks_[i]); result != CUDA_SUCCESS) return result;
    aside_recorded_ = true;
  }
  planted_.clear();
  return session_.driver().cuEventRecord(aside_event_, aside_stream_);
}

bool CopyOnWrite::admit(const WriteSet& set) {
  const std::lock_guard lock(mutex_);
  collect(set);
  if (planted(Planted::aside_after_launch)) {
    flush_planted();
    planted_ = current_;
    return true;
  }
  bool copied = false;
  bool full = false;
  for (const std::size_t i : current_) {
    if (chunks_[i].where != Where::unsaved) continue;
    // A copy that fails leaves the chunk as it is; the hash will tell, or the context is dead.
    full = free_slots_.empty() || copy_aside(chunks_[i]) != CUDA_SUCCESS;
    if (full) break;
    copied = true;
  }
  if (copied) {
    session_.driver().cuEventRecord(aside_event_, aside_stream_);
    aside_recorded_ = true;
  }
  if (full) ++figures_.held_back;
  return !full;
}

bool CopyOnWrite::aside_complete() noexcept {
  return !aside_recorded_ || session_.driver().cuEventQuery(aside_event_) == CUDA_SUCCESS;
}

CUresult CopyOnWrite::before_command(CUstream real) {
  const std::lock_guard lock(mutex_);
  const DriverTable& driver = session_.driver();
  bool waits_aside = false;
  std::uint32_t waits_lanes = 0;
  for (const std::size_t i : current_) {
    if (chunks_[i].where == Where::aside) waits_aside = true;
    if (chunks_[i].where == Where::reading) waits_lanes |= 1U << chunks_[i].lane;
  }
  CUresult result = CUDA_SUCCESS;
  if (waits_aside && !planted(Planted::aside_after_launch) && !aside_complete()) {
    result = driver.cuStreamWaitEvent(real, aside_event_, 0);
  }
  for (std::uint32_t lane = 0; lane < lanes_.size() && result == CUDA_SUCCESS; ++lane) {
    if ((waits_lanes & 1U << lane) != 0) {
      result = driver.cuStreamWaitEvent(real, lanes_[lane].event, 0);
    }
  }
  return result;
}

bool CopyOnWrite::may_reuse(const MemoryRange& range) {
  const std::lock_guard lock(mutex_);
  bool aside = false;
  for (std::size_t i = index_of(range.address);
       i < chunks_.size() && chunks_[i].address < range.address + range.bytes; ++i) {
    const Where where = chunks_[i].where;
    if (where == Where::unsaved || where == Where::reading) return false;
    aside = aside || where == Where::aside;
  }
  return !aside || aside_complete();
}

void CopyOnWrite::enqueue_reads(Lane& lane, std::size_t first, std::size_t count,
                                std::uint8_t* to, std::uint32_t number) {
  const DriverTable& driver = session_.driver();
  if (planted(Planted::aside_after_launch)) flush_planted();
  bool waited = false;
  for (std::size_t i = first; i < first + count; ++i) {
    Chunk& chunk = chunks_[i];
    std::uint64_t from = chunk.address;
    if (chunk.where == Where::aside) {
      from = pool_ + std::uint64_t{chunk.slot} * kChunkBytes;
      if (!waited && aside_recorded_) {
        check_driver(driver, driver.cuStreamWaitEvent(lane.stream, aside_event_, 0),
                     "Ordering a read behind a copy");
      }
      waited = true;
    } else if (chunk.where == Where::unsaved) {
      chunk.where = Where::reading;
      chunk.lane = static_cast<std::uint16_t>(number);
        }
    check_driver(driver,
                 driver.cuMemcpyDtoHAsync(to + (i - first) * kChunkBytes, from, kChunkBytes,
                                          lane.stream),
                 "Copying device memory out");
  }
  check_driver(driver, driver.cuEventRecord(lane.event, lane.stream), "Copying device memory out");
}

void CopyOnWrite::read(std::uint32_t number, std::uint64_t address, void* to,
                       std::size_t bytes) {
  const DriverTable& driver = session_.driver();
  check_driver(driver, driver.cuCtxSetCurrent(session_.context()), "Entering the context");
  Lane& lane = lanes_[number];
  const std::size_t first = index_of(address);
  const std::size_t count = bytes / kChunkBytes;
  auto* out = static_cast<std::uint8_t*>(to);
  {
    const std::lock_guard lock(mutex_);
    enqueue_reads(lane, first, count, out, number);
  }
  check_driver(driver, driver.cuStreamSynchronize(lane.stream), "Copying device memory out");
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = first; i < first + count; ++i) {
      if (chunks_[i].where == Where::aside) free_slots_.push_back(chunks_[i].slot);
      chunks_[i].where = Where::saved;
    }
    saved_.fetch_add(count);
  }
  check(first, count, out);
}

void CopyOnWrite::check(std::size_t first, std::size_t count, const std::uint8_t* bytes) {
  std::uint64_t missed = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const ChangeHash saved = change_hash_of(bytes + i * kChunkBytes, kChunkBytes, key_);
    missed += saved != hashes_[first + i] ? 1 : 0;
  }
  if (missed == 0) return;
  const std::lock_guard lock(mutex_);
  figures_.missed += missed;
}

void CopyOnWrite::skip(std::uint64_t address) {
  const std::lock_guard lock(mutex_);
  Chunk& chunk = chunks_[index_of(address)];
  if (chunk.where == Where::aside) free_slots_.push_back(chunk.slot);
  chunk.where = Where::saved;
  saved_.fetch_add(1);
}

AsideFigures CopyOnWrite::figures() {
  const std::lock_guard lock(mutex_);
  return figures_;
}

bool CopyOnWrite::quiet() noexcept {
  const DriverTable& driver = session_.driver();
  const auto busy = [&driver](CUstream stream) {
    return stream != nullptr && driver.cuStreamQuery(stream) == CUDA_ERROR_NOT_READY;
  };
  return !busy(aside_stream_) &&
         std::none_of(lanes_.begin(), lanes_.end(),
                      [&busy](const Lane& lane) { return busy(lane.stream); });
}

}  // namespace phos::executor
