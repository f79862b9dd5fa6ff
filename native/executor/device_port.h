// SPDX-License-Identifier: Apache-2.0
// Copies between device memory and the lanes of an image, each with a stream and a pinned buffer.
#pragma once

#include <vector>

#include "executor/file.h"
#include "executor/image.h"
#include "gen/driver_table.h"

namespace phos::executor {

class DevicePort : public MemoryPort {
 public:
  DevicePort(const DriverTable& driver, CUcontext context, std::uint32_t lanes);
  ~DevicePort() override;
  DevicePort(const DevicePort&) = delete;
  DevicePort& operator=(const DevicePort&) = delete;

  std::uint8_t* buffer(std::uint32_t lane, std::size_t bytes) override;
  void read(std::uint32_t lane, std::uint64_t address, void* to, std::size_t bytes) override;
  void write(std::uint32_t lane, std::uint64_t address, const void* from,
             std::size_t bytes) override;

 private:
  struct Lane {
    CUstream stream = nullptr;
    PageBuffer buffer;
    bool pinned = false;
  };
  void enter(Lane& lane);

  const DriverTable& driver_;
  const CUcontext context_;
  std::vector<Lane> lanes_;
};

// Throws DEVICE naming the call, what it was for, and the driver's own words.
void check_driver(const DriverTable& driver, CUresult result, const char* what);

}  // namespace phos::executor
