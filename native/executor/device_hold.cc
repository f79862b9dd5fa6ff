// SPDX-License-Identifier: Apache-2.0
#include "executor/device_hold.h"

#include <algorithm>
#include <atomic>

#include "executor/device_port.h"
#include "executor/pinned_pool.h"
#include "executor/planted.h"

namespace phos::executor {

namespace {

constexpr std::uint32_t kLetGo = 1;

}  // namespace

DeviceHold::~DeviceHold() {
  release();
  const DriverTable& driver = session_.driver();
  driver.cuCtxSetCurrent(session_.context());
  for (CUevent event : ends_) driver.cuEventDestroy(event);
  for (const auto& [wire, event] : held_) {
    if (event != nullptr) driver.cuEventDestroy(event);
  }
  if (started_ != nullptr) driver.cuEventDestroy(started_);
  if (copied_ != nullptr) driver.cuEventDestroy(copied_);
  if (stream_ != nullptr) driver.cuStreamDestroy(stream_);
  if (word_ != nullptr) session_.pinned().give(reinterpret_cast<std::uint8_t*>(word_));
}

CUevent DeviceHold::make_timer() {
  CUevent event = nullptr;
  check_driver(session_.driver(), session_.driver().cuEventCreate(&event, CU_EVENT_DEFAULT),
               "Making an event for the cut");
  return event;
}

void DeviceHold::prepare() {
  const DriverTable& driver = session_.driver();
  check_driver(driver, driver.cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING),
               "Making a stream for the cut");
  // From the pool: to free pinned memory would wait for everything on the device.
  word_ = reinterpret_cast<std::uint32_t*>(session_.pinned().take());
  check_driver(driver, word_ == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS,
               "Taking pinned memory for the cut");
  std::atomic_ref<std::uint32_t>(*word_).store(0);
  started_ = make_timer();
  copied_ = make_timer();
}

void DeviceHold::begin() {
  const DriverTable& driver = session_.driver();
  std::size_t number = 0;
  const CUresult joined = session_.streams().each_busy([&](CUstream real, CUevent marker) {
    if (number++ == 0 && planted(Planted::one_stream_forgotten)) return CUDA_SUCCESS;
    if (planted(Planted::no_wait_before)) return CUDA_SUCCESS;
    ++figures_.streams_before;
    if (marker != nullptr) {
      // The stream is gone; its last marker stands for it.
      return driver.cuStreamWaitEvent(stream_, marker, 0);
    }
    ends_.push_back(make_timer());
    const CUresult result = driver.cuEventRecord(ends_.back(), real);
    return result != CUDA_SUCCESS ? result
                                  : driver.cuStreamWaitEvent(stream_, ends_.back(), 0);
  });
  check_driver(driver, joined, "Ordering the cut behind the program's streams");
  begun_ = true;
  count_call();
  check_driver(driver, driver.cuEventRecord(started_, stream_), "Marking the start of the cut");
}

void DeviceHold::end() {
  const DriverTable& driver = session_.driver();
  count_call(2);
  check_driver(driver,
               driver.cuStreamWriteValue32(stream_, reinterpret_cast<CUdeviceptr>(word_), kLetGo,
                                           CU_STREAM_WRITE_VALUE_DEFAULT),
               "Letting the program's streams go after the cut");
  check_driver(driver, driver.cuEventRecord(copied_, stream_), "Marking the end of the cut");
  ended_ = true;
}

CUresult DeviceHold::before_command(std::uint64_t wire, CUstream real) {
  if (held_.contains(wire) || planted(Planted::no_wait_after)) return CUDA_SUCCESS;
  const DriverTable& driver = session_.driver();
  count_call(2);
  const CUresult result =
      driver.cuStreamWaitValue32(real, reinterpret_cast<CUdeviceptr>(word_), kLetGo,
                                 CU_STREAM_WAIT_VALUE_GEQ);
  if (result != CUDA_SUCCESS) return result;
  CUevent next = nullptr;
  // Only a figure depends on the event: without it the stream is held all the same.
  if (driver.cuEventCreate(&next, CU_EVENT_DEFAULT) == CUDA_SUCCESS) {
    driver.cuEventRecord(next, real);
  }
  held_.emplace(wire, next);
  return CUDA_SUCCESS;
}

void DeviceHold::release() noexcept {
  if (word_ == nullptr) return;
  // SAFETY: pinned memory of our own, aligned; the device reads it as one word.
  std::atomic_ref<std::uint32_t>(*word_).store(kLetGo, std::memory_order_release);
}

bool DeviceHold::passed() {
  if (passed_) return true;
  if (!ended_) return false;
  const CUresult result = session_.driver().cuEventQuery(copied_);
  if (result == CUDA_ERROR_NOT_READY) return false;
  check_driver(session_.driver(), result, "Copying at the cut");
  passed_ = true;
  return true;
}

bool DeviceHold::quiet() noexcept {
  if (!begun_ || stream_ == nullptr) return true;
  // Any answer but this one: done, or a dead context in which nothing runs any more.
  return session_.driver().cuStreamQuery(stream_) != CUDA_ERROR_NOT_READY;
}

std::uint64_t DeviceHold::elapsed_ns(CUevent from, CUevent to) const noexcept {
  float ms = 0;
  if (session_.driver().cuEventElapsedTime(&ms, from, to) != CUDA_SUCCESS || ms < 0) return 0;
  return static_cast<std::uint64_t>(static_cast<double>(ms) * 1e6);
}

HoldFigures DeviceHold::figures() {
  HoldFigures figures = figures_;
  figures.hold_ns = elapsed_ns(started_, copied_);
  for (CUevent end : ends_) {
    figures.wait_ns = std::max(figures.wait_ns, elapsed_ns(end, started_));
  }
  for (const auto& [wire, next] : held_) {
    if (next != nullptr) figures.hold_ns = std::max(figures.hold_ns, elapsed_ns(started_, next));
  }
  figures.streams_held = static_cast<std::uint32_t>(held_.size());
  return figures;
}

}  // namespace phos::executor
