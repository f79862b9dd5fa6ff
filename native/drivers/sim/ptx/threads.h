// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace phos::sim::ptx {

// How many threads may run the blocks of a grid whose result cannot depend on their order. 1, the
// default, to 64; holds for launches that start afterwards.
void set_threads(std::uint32_t count) noexcept;

}  // namespace phos::sim::ptx
