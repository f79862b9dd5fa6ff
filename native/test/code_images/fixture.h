// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace phos::code_images::test {

inline std::vector<std::uint8_t> fixture(const std::string& name) {
  std::ifstream file(std::string(PHOS_FIXTURE_DIR) + "/" + name, std::ios::binary);
  std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.empty()) {
    throw std::runtime_error("missing fixture " + name);
  }
  return bytes;
}

}  // namespace phos::code_images::test
