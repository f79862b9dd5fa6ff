// SPDX-License-Identifier: Apache-2.0
// Thrown inside the loader only; Module::load() turns it into a Diagnostic.
#pragma once

#include <string>
#include <string_view>

#include "diagnostic.h"

namespace phos::sim::ptx {

struct Refusal {
  Diagnostic diagnostic;
};

[[noreturn]] inline void refuse(std::uint32_t line, std::string_view opcode,
                                const std::string& reason) {
  std::string message = "PTX line " + std::to_string(line) + ": ";
  if (!opcode.empty()) {
    message += std::string(opcode) + ": ";
  }
  throw Refusal{{kErrorInvalidPtx, line, std::string(opcode), message + reason}};
}

}  // namespace phos::sim::ptx
