// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/launch.h"

#include <algorithm>
#include <cstring>

#include "drivers/sim/device_facts.h"

namespace phos::sim {
namespace {

constexpr std::uint32_t kMinStackBytes = 16384;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return (value + unit - 1) / unit * unit;
}

// Registers are given out warp by warp, in units.
int blocks_by_registers(const Function& function, int warps) {
  const std::uint64_t per_warp =
      round_up(std::uint64_t{std::max(function.info->registers, 1U)} * kWarp, kRegisterUnit);
  const std::uint64_t fitting =
      kRegistersPerMultiprocessor / per_warp / kWarpUnit * kWarpUnit;
  return static_cast<int>(fitting / static_cast<std::uint64_t>(warps));
}

CUresult check_dimensions(const LaunchRequest& request, const ptx::KernelInfo& info) {
  const auto* grid = request.grid;
  const auto* block = request.block;
  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || block[0] == 0 || block[1] == 0 ||
      block[2] == 0 || grid[0] > kMaxGridX || grid[1] > kMaxGridYZ || grid[2] > kMaxGridYZ ||
      block[0] > kMaxThreadsPerBlock || block[1] > kMaxThreadsPerBlock || block[2] > kMaxBlockZ) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::uint64_t threads = std::uint64_t{block[0]} * block[1] * block[2];
  if (threads > kMaxThreadsPerBlock) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const bool wrong_shape =
      info.required_block &&
      *info.required_block != ptx::Dim3{block[0], block[1], block[2]};
  if (threads > info.max_threads || wrong_shape) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::uint64_t per_warp =
      round_up(std::uint64_t{std::max(info.registers, 1U)} * kWarp, kRegisterUnit);
  const std::uint64_t warps = round_up((threads + kWarp - 1) / kWarp, kWarpUnit);
  return warps * per_warp > kRegistersPerMultiprocessor ? CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
                                                        : CUDA_SUCCESS;
}

// kernelParams: an array of pointers to the values.
CUresult gather(const ptx::KernelInfo& info, void** parameters, std::vector<std::byte>& buffer) {
  buffer.assign(info.parameter_bytes, std::byte{0});
  for (std::size_t i = 0; i < info.parameters.size(); ++i) {
    if (parameters[i] == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    // SAFETY: the caller vouches for as many bytes as the kernel declares; the buffer has room for
    // every declared parameter.
    std::memcpy(buffer.data() + info.parameters[i].offset, parameters[i],
                info.parameters[i].bytes);
  }
  return CUDA_SUCCESS;
}

// extra: pairs that name one buffer and its size.
CUresult gather_extra(const ptx::KernelInfo& info, void** extra, std::vector<std::byte>& buffer) {
  const void* source = nullptr;
  std::size_t bytes = 0;
  for (std::size_t i = 0; extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
    if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER) {
      source = extra[i + 1];
    } else if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE && extra[i + 1] != nullptr) {
      bytes = *static_cast<const std::size_t*>(extra[i + 1]);
    } else {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  if (bytes < info.parameter_bytes || (source == nullptr && info.parameter_bytes != 0)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  buffer.assign(info.parameter_bytes, std::byte{0});
  if (info.parameter_bytes != 0) {
    // SAFETY: at least parameter_bytes bytes, as the caller says.
    std::memcpy(buffer.data(), source, info.parameter_bytes);
  }
  return CUDA_SUCCESS;
}

}  // namespace

std::uint64_t dynamic_limit(const Function& function) noexcept {
  if (function.settings.max_dynamic_shared >= 0) {
    return static_cast<std::uint64_t>(function.settings.max_dynamic_shared);
  }
  return kSharedPerBlock - std::min<std::uint64_t>(function.info->static_shared_bytes,
                                                   kSharedPerBlock);
}

int resident_blocks(const Function& function, int block_threads, std::uint64_t dynamic_bytes) {
  if (block_threads <= 0 || block_threads > static_cast<int>(function.info->max_threads) ||
      block_threads > kMaxThreadsPerBlock) {
    return 0;
  }
  const int warps = (block_threads + kWarp - 1) / kWarp;
  const std::uint64_t per_block = function.info->static_shared_bytes + dynamic_bytes;
  if (per_block > kSharedPerBlockOptIn) {
    return 0;
  }
  const std::uint64_t shared = round_up(per_block, kSharedUnit) + kSharedReserved;
  const int by_threads = kMaxThreadsPerMultiprocessor / (warps * kWarp);
  const int by_shared = static_cast<int>(kSharedPerMultiprocessor / shared);
  return std::min({kMaxBlocksPerMultiprocessor, by_threads, by_shared,
                   blocks_by_registers(function, warps)});
}

std::uint64_t available_dynamic(const Function& function, int blocks, int block_threads) {
  if (blocks <= 0 || resident_blocks(function, block_threads, 0) < blocks) {
    return 0;
  }
  const std::uint64_t share = static_cast<std::uint64_t>(kSharedPerMultiprocessor) /
                              static_cast<std::uint64_t>(blocks) / kSharedUnit * kSharedUnit;
  const std::uint64_t taken = kSharedReserved + function.info->static_shared_bytes;
  return share <= taken ? 0
                        : std::min<std::uint64_t>(share - taken,
                                                  kSharedPerBlockOptIn -
                                                      function.info->static_shared_bytes);
}

CUresult prepare_launch(Context& context, const LaunchRequest& request, Launch& launch) {
  Function* function = nullptr;
  if (const CUresult found =
          resolve_function(context, request.function, launch.module, &function);
      found != CUDA_SUCCESS) {
    return found;
  }
  const ptx::KernelInfo& info = *function->info;
  if (const CUresult legal = check_dimensions(request, info); legal != CUDA_SUCCESS) {
    return legal;
  }
  if (request.shared_bytes > dynamic_limit(*function) ||
      std::uint64_t{request.shared_bytes} + info.static_shared_bytes > kSharedPerBlockOptIn) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::uint64_t threads =
      std::uint64_t{request.block[0]} * request.block[1] * request.block[2];
  const std::uint64_t blocks =
      std::uint64_t{request.grid[0]} * request.grid[1] * request.grid[2];
  if (request.cooperative) {
    const int resident =
        resident_blocks(*function, static_cast<int>(threads), request.shared_bytes);
    if (blocks > static_cast<std::uint64_t>(resident) * kMultiprocessors) {
      return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    }
  }
  CUresult result = CUDA_SUCCESS;
  if (request.parameters != nullptr) {
    result = gather(info, request.parameters, launch.parameters);
  } else if (request.extra != nullptr) {
    result = gather_extra(info, request.extra, launch.parameters);
  } else if (!info.parameters.empty()) {
    result = CUDA_ERROR_INVALID_VALUE;
  }
  launch.function = function;
  launch.grid = {request.grid[0], request.grid[1], request.grid[2]};
  launch.block = {request.block[0], request.block[1], request.block[2]};
  launch.shared_bytes = request.shared_bytes;
  launch.cooperative = request.cooperative;
  launch.stack_bytes = std::max(
      kMinStackBytes, static_cast<std::uint32_t>(context.limits[CU_LIMIT_STACK_SIZE]));
  return result;
}

}  // namespace phos::sim
