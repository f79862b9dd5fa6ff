// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "drivers/sim/calls.h"
#include "drivers/sim/device_facts.h"
#include "drivers/sim/launch.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

CUresult enter(Entry& entry, CUfunction handle, const void* out, std::shared_ptr<Module>& module,
               Function** function) {
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  if (out == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return resolve_function(entry.context(), handle, module, function);
}

CUresult max_active_blocks_with_flags(int* blocks, CUfunction handle, int block_threads,
                                      std::size_t dynamic_bytes, unsigned flags) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  if (const CUresult result = enter(entry, handle, blocks, module, &function);
      result != CUDA_SUCCESS) {
    return result;
  }
  if (flags > CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE || block_threads <= 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *blocks = resident_blocks(*function, block_threads, dynamic_bytes);
  return CUDA_SUCCESS;
}

CUresult max_active_blocks(int* blocks, CUfunction handle, int block_threads,
                           std::size_t dynamic_bytes) {
  return max_active_blocks_with_flags(blocks, handle, block_threads, dynamic_bytes, 0);
}

CUresult available_dynamic_memory(std::size_t* bytes, CUfunction handle, int blocks,
                                  int block_threads) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  if (const CUresult result = enter(entry, handle, bytes, module, &function);
      result != CUDA_SUCCESS) {
    return result;
  }
  if (blocks <= 0 || block_threads <= 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *bytes = available_dynamic(*function, blocks, block_threads);
  return CUDA_SUCCESS;
}

// The block size that keeps the most threads of a multiprocessor busy; of equals the largest.
CUresult max_potential_with_flags(int* grid, int* block, CUfunction handle,
                                  CUoccupancyB2DSize dynamic_of_block, std::size_t dynamic_bytes,
                                  int limit, unsigned flags) {
  int best_threads = 0;
  int best_blocks = 0;
  {
    Entry entry;
    std::shared_ptr<Module> module;
    Function* function = nullptr;
    if (const CUresult result = enter(entry, handle, grid, module, &function);
        result != CUDA_SUCCESS) {
      return result;
    }
    if (block == nullptr || flags > CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    int most = std::min<int>(kMaxThreadsPerBlock, static_cast<int>(function->info->max_threads));
    most = limit > 0 ? std::min(most, limit) : most;
    for (int threads = (most + kWarp - 1) / kWarp * kWarp; threads > 0; threads -= kWarp) {
      const int tried = std::min(threads, most);
      const std::size_t dynamic =
          dynamic_of_block != nullptr ? dynamic_of_block(tried) : dynamic_bytes;
      const int blocks = resident_blocks(*function, tried, dynamic);
      if (blocks * tried > best_blocks * best_threads) {
        best_threads = tried;
        best_blocks = blocks;
      }
    }
  }
  *block = best_threads;
  *grid = best_blocks * kMultiprocessors;
  return CUDA_SUCCESS;
}

CUresult max_potential(int* grid, int* block, CUfunction handle,
                       CUoccupancyB2DSize dynamic_of_block, std::size_t dynamic_bytes,
                       int limit) {
  return max_potential_with_flags(grid, block, handle, dynamic_of_block, dynamic_bytes, limit, 0);
}

// Clusters need compute capability 9.0; a cluster of one block is an ordinary launch.
CUresult max_cluster_size(int* size, CUfunction handle, const CUlaunchConfig* config) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  if (const CUresult result = enter(entry, handle, size, module, &function);
      result != CUDA_SUCCESS) {
    return result;
  }
  if (config == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *size = 1;
  return CUDA_SUCCESS;
}

CUresult max_active_clusters(int* clusters, CUfunction handle, const CUlaunchConfig* config) {
  Entry entry;
  std::shared_ptr<Module> module;
  Function* function = nullptr;
  if (const CUresult result = enter(entry, handle, clusters, module, &function);
      result != CUDA_SUCCESS) {
    return result;
  }
  if (config == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const auto& one = config->attrs[i];
    if (one.id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION &&
        one.value.clusterDim.x * one.value.clusterDim.y * one.value.clusterDim.z > 1) {
      return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    }
  }
  const auto threads =
      static_cast<int>(config->blockDimX * config->blockDimY * config->blockDimZ);
  *clusters = resident_blocks(*function, threads, config->sharedMemBytes) * kMultiprocessors;
  return CUDA_SUCCESS;
}

}  // namespace

void fill_occupancy_calls(DriverTable& table) {
  table.cuOccupancyMaxActiveBlocksPerMultiprocessor = max_active_blocks;
  table.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags = max_active_blocks_with_flags;
  table.cuOccupancyAvailableDynamicSMemPerBlock = available_dynamic_memory;
  table.cuOccupancyMaxPotentialBlockSize = max_potential;
  table.cuOccupancyMaxPotentialBlockSizeWithFlags = max_potential_with_flags;
  table.cuOccupancyMaxPotentialClusterSize = max_cluster_size;
  table.cuOccupancyMaxActiveClusters = max_active_clusters;
}

}  // namespace phos::sim
