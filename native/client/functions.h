// SPDX-License-Identifier: Apache-2.0
// What the client knows about functions and kernels: how their parameters are packed, and what
// launches are checked by. Fetched once, with the handle.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "phos/cuda_abi.h"
#include "ring/futex.h"

namespace phos::client {

inline constexpr std::uint32_t kFunctionAttributes = 16;

struct Parameter {
  std::uint32_t offset;
  std::uint32_t bytes;
};

struct FunctionInfo {
  std::string name;
  std::vector<Parameter> parameters;
  std::uint32_t parameter_bytes = 0;
  std::atomic<std::int32_t> attributes[kFunctionAttributes]{};  // INT_MIN where refused
  std::uint64_t owner = 0;                 // module or library
  std::atomic<std::uint64_t> function{0};  // of a kernel: its function, once asked for
  std::atomic<std::uint32_t> max_cooperative_blocks{0};  // last answer, see launch.cc
  std::atomic<std::uint64_t> cooperative_key{0};
  int attribute(CUfunction_attribute which) const noexcept {
    return attributes[which].load(std::memory_order_relaxed);
  }
};

// What a module or a library has given out: one handle for each name.
struct SymbolTable {
  ring::FutexLock lock;
  std::map<std::string, std::uint64_t, std::less<>> functions;
};

// The info of a function or a kernel; nullptr for what is neither or not alive.
FunctionInfo* function_info(std::uint64_t handle) noexcept;

}  // namespace phos::client
