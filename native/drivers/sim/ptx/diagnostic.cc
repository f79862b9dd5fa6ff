// SPDX-License-Identifier: Apache-2.0
#include "diagnostic.h"

#include <cstdio>

namespace phos::sim::ptx {
namespace {

std::string triple(const Dim3& d) {
  return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")";
}

}  // namespace

std::string Fault::text() const {
  std::string result = "error " + std::to_string(cuda_error) + " in kernel " + kernel;
  result += ", block " + triple(block) + ", thread " + triple(thread) + ": " + reason;
  if (address != 0) {
    char hex[32];
    std::snprintf(hex, sizeof hex, " (0x%llx)", static_cast<unsigned long long>(address));
    result += hex;
  }
  if (!opcode.empty()) {
    result += ", at " + opcode + ", PTX line " + std::to_string(line);
  }
  if (!function.empty()) {
    result += " in function " + function;
  }
  return result;
}

}  // namespace phos::sim::ptx
