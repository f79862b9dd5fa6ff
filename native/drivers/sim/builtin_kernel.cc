// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/builtin_kernel.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "change-hash/change_hash.h"
#include "drivers/sim/memory.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

bool is_interpreted() {
  static const bool wanted = [] {
    const char* text = std::getenv("PHOS_SIM_INTERPRET");
    return text != nullptr && *text == '1';
  }();
  return wanted;
}

// Adds the sums of one chunk to where the kernel puts them. False: an address is not mapped.
bool hash_chunk(const ChangeHashParameters& parameters, std::uint32_t chunk) {
  AddressSpace& space = runtime().memory->space();
  const std::byte* entry = space.resolve(parameters.table + chunk * 8ULL, 8);
  std::byte* out = space.resolve(parameters.out + chunk * sizeof(ChangeHash), sizeof(ChangeHash));
  if (entry == nullptr || out == nullptr) {
    return false;
  }
  std::uint64_t address = 0;
  std::memcpy(&address, entry, sizeof address);
  const std::byte* data = space.resolve(address, parameters.words * 8);
  if (data == nullptr) {
    return false;
  }
  const ChangeHash sums = change_hash_of(data, parameters.words * 8, parameters.key);
  ChangeHash before{};
  std::memcpy(before.data(), out, sizeof before);
  before[0] += sums[0];
  before[1] += sums[1];
  std::memcpy(out, before.data(), sizeof before);
  return true;
}

}  // namespace

bool is_builtin(const Launch& launch) {
  return launch.parameters.size() == sizeof(ChangeHashParameters) &&
         launch.block == ptx::Dim3{change_hash::kThreads, 1, 1} && launch.grid.y == 1 &&
         launch.grid.z == 1 && launch.function->info->name == change_hash::kKernel &&
         !is_interpreted();
}

Step run_builtin(const Launch& launch, std::uint32_t& next, Turn& turn, Fault& fault) {
  ChangeHashParameters parameters{};
  std::memcpy(&parameters, launch.parameters.data(), sizeof parameters);
  std::uint32_t left = launch.grid.x - next;
  if (turn.random != nullptr) {
    left = static_cast<std::uint32_t>(1 + (*turn.random)() % left);
  }
  for (; left != 0; --left, ++next) {
    if (!hash_chunk(parameters, next)) {
      fault = {CUDA_ERROR_ILLEGAL_ADDRESS, "the change hash reached memory that is not mapped"};
      return Step::fault;
    }
  }
  return next == launch.grid.x ? Step::done : Step::more;
}

}  // namespace phos::sim
