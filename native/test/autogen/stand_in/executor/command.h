// SPDX-License-Identifier: Apache-2.0
// Commands and replies without a ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gen/call_ids.h"
#include "phos/cuda_abi.h"

namespace phos::executor {

class Session;

struct Command {
  std::vector<std::uint8_t> bytes;
  std::uint64_t current = 0;

  std::uint64_t context() const { return current; }
  template <class T>
  const T* as() const {
    return bytes.size() < sizeof(T) ? nullptr : reinterpret_cast<const T*>(bytes.data());
  }
  const std::uint8_t* blob(std::uint64_t offset, std::uint64_t size) const {
    const bool inside = offset <= bytes.size() && size <= bytes.size() - offset;
    return inside ? bytes.data() + offset : nullptr;
  }
};

struct Reply {
  bool finished = false;
  CUresult status = CUDA_ERROR_UNKNOWN;
  std::vector<std::uint8_t> bytes;

  void finish(CUresult result, const void* data = nullptr, std::size_t size = 0) {
    finished = true;
    status = result;
    const auto* from = static_cast<const std::uint8_t*>(data);
    bytes.assign(from, from + size);
  }
};

using Handler = void (*)(Session&, const Command&, Reply&);

}  // namespace phos::executor
