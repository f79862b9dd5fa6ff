// SPDX-License-Identifier: Apache-2.0
#include "executor/device_port.h"

#include <string>

#include "executor/failure.h"

namespace phos::executor {

void check_driver(const DriverTable& driver, CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  const char* name = nullptr;
  const char* text = nullptr;
  const bool named = driver.cuGetErrorName(result, &name) == CUDA_SUCCESS && name != nullptr;
  const bool told = driver.cuGetErrorString(result, &text) == CUDA_SUCCESS && text != nullptr;
  throw Failure(Code::device,
                std::string(what) + " failed: " + (named ? name : "CUDA error") + " (" +
                    std::to_string(result) + (told ? std::string(", ") + text : std::string()) +
                    "). `phos doctor` checks the device.",
                {{"status", std::to_string(result)}}, result == CUDA_ERROR_OUT_OF_MEMORY);
}

DevicePort::DevicePort(const DriverTable& driver, CUcontext context, std::uint32_t lanes)
    : driver_(driver), context_(context), lanes_(lanes) {}

DevicePort::~DevicePort() {
  driver_.cuCtxSetCurrent(context_);
  for (Lane& lane : lanes_) {
    if (lane.pinned) driver_.cuMemHostUnregister(lane.buffer.get());
    if (lane.stream != nullptr) driver_.cuStreamDestroy(lane.stream);
  }
}

void DevicePort::enter(Lane& lane) {
  check_driver(driver_, driver_.cuCtxSetCurrent(context_), "Entering the context");
  if (lane.stream != nullptr) return;
  // Non-blocking: it must not order itself with the program's legacy stream.
  check_driver(driver_, driver_.cuStreamCreate(&lane.stream, CU_STREAM_NON_BLOCKING),
               "Making a stream for copies");
}

std::uint8_t* DevicePort::buffer(std::uint32_t number, std::size_t bytes) {
  Lane& lane = lanes_[number];
  enter(lane);
  if (lane.buffer == nullptr) {
    lane.buffer = make_page_buffer(bytes);
    // Pageable works too, only slower: a driver that cannot register is not an error here.
    lane.pinned = driver_.cuMemHostRegister(lane.buffer.get(), padded(bytes),
                                            CU_MEMHOSTREGISTER_PORTABLE) == CUDA_SUCCESS;
  }
  return lane.buffer.get();
}

void DevicePort::read(std::uint32_t number, std::uint64_t address, void* to, std::size_t bytes) {
  Lane& lane = lanes_[number];
  enter(lane);
  check_driver(driver_, driver_.cuMemcpyDtoHAsync(to, address, bytes, lane.stream),
               "Copying device memory out");
  check_driver(driver_, driver_.cuStreamSynchronize(lane.stream), "Copying device memory out");
}

void DevicePort::write(std::uint32_t number, std::uint64_t address, const void* from,
                       std::size_t bytes) {
  Lane& lane = lanes_[number];
  enter(lane);
  check_driver(driver_, driver_.cuMemcpyHtoDAsync(address, from, bytes, lane.stream),
               "Copying device memory in");
  check_driver(driver_, driver_.cuStreamSynchronize(lane.stream), "Copying device memory in");
}

}  // namespace phos::executor
