// SPDX-License-Identifier: Apache-2.0
// printf of the device: the format and its arguments are read from device memory and formatted by
// the host's own printf, one conversion at a time.
#pragma once

#include <string>

#include "warp.h"

namespace phos::sim::ptx {

// Reads what one lane can read. Throws Stop as a load would.
struct DeviceReader {
  Warp& warp;
  const Instr& instr;
  std::uint32_t lane;

  std::string text(std::uint64_t address) const;  // up to its NUL
  std::uint64_t value(std::uint64_t address, std::uint32_t bytes) const;
};

// `fields`: the number of arguments that were used, which is what vprintf returns.
std::string format_text(const DeviceReader& reader, std::uint64_t format, std::uint64_t arguments,
                        int& fields);

}  // namespace phos::sim::ptx
