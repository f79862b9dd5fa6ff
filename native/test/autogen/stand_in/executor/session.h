// SPDX-License-Identifier: Apache-2.0
// A session that knows one rule: the real handle of wire W is W + 1, and below 0x100 there is none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "executor/command.h"
#include "gen/driver_table.h"
#include "gen/handle_types.h"

namespace phos::executor {

class Session {
 public:
  const DriverTable& driver() const { return table; }
  CUdevice device() const { return 3; }

  CUresult resolve(HandleType type, std::uint64_t wire, bool nullable, void** real) {
    log.push_back(std::string("resolve ") + handle_type_name(type));
    *real = nullptr;
    if (wire == 0 && nullable) return CUDA_SUCCESS;
    if (wire < 0x100) return CUDA_ERROR_INVALID_HANDLE;
    *real = reinterpret_cast<void*>(wire + 1);
    return CUDA_SUCCESS;
  }
  void create(HandleType type, std::uint64_t wire, void* real, const Command&,
              std::span<const std::uint64_t> given) {
    log.push_back(std::string("create ") + handle_type_name(type));
    made = {wire, reinterpret_cast<std::uint64_t>(real)};
    parents.assign(given.begin(), given.end());
  }
  void mutate(HandleType type, std::uint64_t wire, const Command&) {
    log.push_back(std::string("mutate ") + handle_type_name(type));
    made = {wire, 0};
  }
  CUresult destroy(HandleType type, std::uint64_t) {
    log.push_back(std::string("destroy ") + handle_type_name(type));
    return CUDA_SUCCESS;
  }
  void protocol_error(CallId, const char* what) { errors.emplace_back(what); }

  DriverTable table{};
  std::vector<std::string> log;
  std::vector<std::string> errors;
  std::vector<std::uint64_t> made;  // wire and real handle of what was made or changed last
  std::vector<std::uint64_t> parents;
};

}  // namespace phos::executor
