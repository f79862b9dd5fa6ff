// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/calls.h"
#include "drivers/sim/launch.h"
#include "drivers/sim/operations.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {
namespace {

CUresult run(const LaunchRequest& request, CUstream handle) {
  Entry entry;
  if (const CUresult ready = entry.with_context(); ready != CUDA_SUCCESS) {
    return ready;
  }
  Stream* stream = find_stream(entry, handle);
  if (stream == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  Launch launch;
  if (const CUresult result = prepare_launch(*stream->context, request, launch);
      result != CUDA_SUCCESS) {
    return result;
  }
  return submit(entry, *stream, std::make_unique<KernelOperation>(std::move(launch)));
}

CUresult launch_kernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                       unsigned block_x, unsigned block_y, unsigned block_z,
                       unsigned shared_bytes, CUstream stream, void** parameters,
                       void** extra) {
  return run({function,
              {grid_x, grid_y, grid_z},
              {block_x, block_y, block_z},
              shared_bytes,
              false,
              parameters,
              extra},
             stream);
}

CUresult launch_cooperative(CUfunction function, unsigned grid_x, unsigned grid_y,
                            unsigned grid_z, unsigned block_x, unsigned block_y,
                            unsigned block_z, unsigned shared_bytes, CUstream stream,
                            void** parameters) {
  return run({function,
              {grid_x, grid_y, grid_z},
              {block_x, block_y, block_z},
              shared_bytes,
              true,
              parameters,
              nullptr},
             stream);
}

// Attributes that only tune are accepted; those that ask for what 8.6 lacks are refused.
CUresult read_attributes(const CUlaunchConfig& config, bool* cooperative) {
  if (config.numAttrs != 0 && config.attrs == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const CUlaunchAttribute& one = config.attrs[i];
    switch (one.id) {
      case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
        *cooperative = one.value.cooperative != 0;
        break;
      case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        if (one.value.clusterDim.x > 1 || one.value.clusterDim.y > 1 ||
            one.value.clusterDim.z > 1) {
          return CUDA_ERROR_INVALID_CLUSTER_SIZE;
        }
        break;
      case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
      case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
      case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
        return CUDA_ERROR_NOT_SUPPORTED;
      default:
        break;
    }
  }
  return CUDA_SUCCESS;
}

CUresult launch_kernel_ex(const CUlaunchConfig* config, CUfunction function, void** parameters,
                          void** extra) {
  if (config == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  LaunchRequest request{function,
                        {config->gridDimX, config->gridDimY, config->gridDimZ},
                        {config->blockDimX, config->blockDimY, config->blockDimZ},
                        config->sharedMemBytes,
                        false,
                        parameters,
                        extra};
  const CUresult result = read_attributes(*config, &request.cooperative);
  return result != CUDA_SUCCESS ? result : run(request, config->hStream);
}

}  // namespace

void fill_launch_calls(DriverTable& table) {
  table.cuLaunchKernel = launch_kernel;
  table.cuLaunchKernelEx = launch_kernel_ex;
  table.cuLaunchCooperativeKernel = launch_cooperative;
}

}  // namespace phos::sim
