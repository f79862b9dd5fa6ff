// SPDX-License-Identifier: Apache-2.0
// Kernel launches: everything that CUDA refuses at the call is refused here, before the record.
#include <limits.h>
#include <string.h>

#include <vector>

#include "client/call.h"
#include "client/capture.h"
#include "client/functions.h"
#include "client/graph_nodes.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

constexpr std::uint32_t kMaxParameterBytes = 32764;
constexpr std::uint32_t kUsualParameterBytes = 4096;
constexpr unsigned kMaxAttributes = 64;

struct Launch {
  std::uint64_t function;
  CUstream stream;
  std::uint32_t grid[3];
  std::uint32_t block[3];
  std::uint32_t shared_bytes;
  void** parameters;
  void** extra;
  const CUlaunchAttribute* attributes;
  unsigned attribute_count;
};

const CUlaunchAttribute* find_attribute(const Launch& launch, CUlaunchAttributeID id) noexcept {
  for (unsigned i = 0; i < launch.attribute_count; ++i) {
    if (launch.attributes[i].id == id) return &launch.attributes[i];
  }
  return nullptr;
}

CUresult check_shape(const Launch& launch, const FunctionInfo& info, CUdevice device) noexcept {
  static constexpr CUdevice_attribute kGrid[] = {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X,
                                                 CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y,
                                                 CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z};
  static constexpr CUdevice_attribute kBlock[] = {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X,
                                                  CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y,
                                                  CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z};
  std::uint64_t threads = 1;
  for (int i = 0; i < 3; ++i) {
    const auto most_grid = static_cast<std::uint32_t>(device_attribute(device, kGrid[i]));
    const auto most_block = static_cast<std::uint32_t>(device_attribute(device, kBlock[i]));
    if (launch.grid[i] == 0 || launch.grid[i] > most_grid) return CUDA_ERROR_INVALID_VALUE;
    if (launch.block[i] == 0 || launch.block[i] > most_block) return CUDA_ERROR_INVALID_VALUE;
    threads *= launch.block[i];
  }
  const int most = device_attribute(device, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  if (threads > static_cast<std::uint64_t>(most)) return CUDA_ERROR_INVALID_VALUE;
  // What the kernel itself can have: registers, or a bound that its author gave.
  const int bound = info.attribute(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  if (bound > 0 && threads > static_cast<std::uint64_t>(bound)) {
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  }
  const int dynamic = info.attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
  if (dynamic != INT_MIN && launch.shared_bytes > static_cast<std::uint32_t>(dynamic)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult check_cluster(const Launch& launch, const FunctionInfo& info) noexcept {
  const CUlaunchAttribute* cluster = find_attribute(launch, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
  if (cluster == nullptr) {
    const int must = info.attribute(CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET);
    const int required = info.attribute(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH);
    return must == 1 && required <= 0 ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
  }
  const std::uint32_t sizes[] = {cluster->value.clusterDim.x, cluster->value.clusterDim.y,
                                 cluster->value.clusterDim.z};
  std::uint64_t blocks = 1;
  for (int i = 0; i < 3; ++i) {
    if (sizes[i] == 0) return CUDA_ERROR_INVALID_VALUE;
    if (launch.grid[i] % sizes[i] != 0) return CUDA_ERROR_INVALID_VALUE;
    blocks *= sizes[i];
  }
  const bool wide = info.attribute(CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED) == 1;
  return blocks > (wide ? 16U : 8U) ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
}

// A cooperative grid must be resident at once. How many blocks fit is the driver's own arithmetic,
// so it is asked, once for each shape.
CUresult check_cooperative(const Launch& launch, FunctionInfo& info, CUdevice device) noexcept {
  const CUlaunchAttribute* cooperative = find_attribute(launch, CU_LAUNCH_ATTRIBUTE_COOPERATIVE);
  if (cooperative == nullptr || cooperative->value.cooperative == 0) return CUDA_SUCCESS;
  if (device_attribute(device, CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH) == 0) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  const std::uint32_t threads = launch.block[0] * launch.block[1] * launch.block[2];
  const std::uint64_t key = (std::uint64_t{threads} << 32) | (launch.shared_bytes + 1ULL);
  std::uint32_t most = info.max_cooperative_blocks.load();
  if (info.cooperative_key.load() != key) {
    codec::Req_cuOccupancyMaxActiveBlocksPerMultiprocessor request{};
    codec::Rep_cuOccupancyMaxActiveBlocksPerMultiprocessor reply{};
    request.func = launch.function;
    request.blockSize = static_cast<std::int32_t>(threads);
    request.dynamicSMemSize = launch.shared_bytes;
    if (const CUresult status = ask(request, &reply); status != CUDA_SUCCESS) return status;
    const int processors = device_attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    most = static_cast<std::uint32_t>(reply.numBlocks * processors);
    info.cooperative_key.store(0);
    info.max_cooperative_blocks.store(most);
    info.cooperative_key.store(key);
  }
  const std::uint64_t blocks = std::uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  return blocks > most ? CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE : CUDA_SUCCESS;
}

// Most parameters are a pointer or a number, for which a call of memcpy costs more than the copy.
void copy_parameter(std::uint8_t* to, const void* from, std::uint32_t bytes) noexcept {
  if (bytes == 8) {
    memcpy(to, from, 8);
  } else if (bytes == 4) {
    memcpy(to, from, 4);
  } else {
    memcpy(to, from, bytes);
  }
}

// Packs the parameters in the kernel's layout. `block` has room for them; *data is it,
// or the program's own buffer where it packed them itself.
CUresult pack_parameters(const Launch& launch, const FunctionInfo& info, std::uint8_t* block,
                         Blob* data) noexcept {
  *data = {block, info.parameter_bytes};
  if (launch.extra != nullptr) {
    if (launch.parameters != nullptr) return CUDA_ERROR_INVALID_VALUE;
    const void* buffer = nullptr;
    const std::size_t* bytes = nullptr;
    for (void** entry = launch.extra; *entry != CU_LAUNCH_PARAM_END; entry += 2) {
      if (*entry == CU_LAUNCH_PARAM_BUFFER_POINTER) {
        buffer = entry[1];
      } else if (*entry == CU_LAUNCH_PARAM_BUFFER_SIZE) {
        bytes = static_cast<const std::size_t*>(entry[1]);
      } else {
        return CUDA_ERROR_INVALID_VALUE;
      }
    }
    if (bytes == nullptr || *bytes < info.parameter_bytes || *bytes > kMaxParameterBytes) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (buffer == nullptr && info.parameter_bytes != 0) return CUDA_ERROR_INVALID_VALUE;
    *data = {buffer, info.parameter_bytes};
    return CUDA_SUCCESS;
  }
  if (info.parameter_bytes == 0) return CUDA_SUCCESS;
  if (launch.parameters == nullptr || info.parameter_bytes > kMaxParameterBytes) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::uint32_t end = 0;
  for (std::size_t i = 0; i < info.parameters.size(); ++i) {
    const Parameter& parameter = info.parameters[i];
    if (launch.parameters[i] == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (parameter.offset > end) memset(block + end, 0, parameter.offset - end);
    copy_parameter(block + parameter.offset, launch.parameters[i], parameter.bytes);
    end = parameter.offset + parameter.bytes;
  }
  return CUDA_SUCCESS;
}

// Events in attributes must be alive; the values travel as the program gave them.
CUresult check_attributes(const Launch& launch) noexcept {
  if (launch.attribute_count > kMaxAttributes) return CUDA_ERROR_INVALID_VALUE;
  if (launch.attribute_count != 0 && launch.attributes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; i < launch.attribute_count; ++i) {
    const CUlaunchAttribute& attribute = launch.attributes[i];
    std::uint64_t wire = 0;
    CUresult status = CUDA_SUCCESS;
    if (attribute.id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT) {
      status = handle_arg(HandleType::event, bits_of(attribute.value.programmaticEvent.event),
                          false, &wire);
    } else if (attribute.id == CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT) {
      status = handle_arg(HandleType::event, bits_of(attribute.value.launchCompletionEvent.event),
                          false, &wire);
    }
    if (status != CUDA_SUCCESS) return status;
  }
  return CUDA_SUCCESS;
}

CUresult launch_kernel(const Launch& launch) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  FunctionInfo* info = function_info(launch.function);
  if (info == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  codec::Req_phos_launch request{};
  CUresult status =
      handle_arg(HandleType::stream, bits_of(launch.stream), true, &request.stream);
  if (status == CUDA_SUCCESS) status = check_submit(request.stream);
  if (status != CUDA_SUCCESS) return status;
  const CUdevice device = current_device();
  status = check_shape(launch, *info, device);
  if (status != CUDA_SUCCESS) return status;
  if (launch.attribute_count != 0 ||
      info->attribute(CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET) == 1) {
    status = check_attributes(launch);
    if (status == CUDA_SUCCESS) status = check_cluster(launch, *info);
    if (status == CUDA_SUCCESS) status = check_cooperative(launch, *info, device);
    if (status != CUDA_SUCCESS) return status;
  }
  // A thread of the program may have a small stack, and few kernels take more than this.
  std::uint8_t on_stack[kUsualParameterBytes];
  std::vector<std::uint8_t> on_heap;
  std::uint8_t* block = on_stack;
  if (info->parameter_bytes > kUsualParameterBytes) {
    if (info->parameter_bytes > kMaxParameterBytes) return CUDA_ERROR_INVALID_VALUE;
    on_heap.resize(info->parameter_bytes);
    block = on_heap.data();
  }
  Blob blobs[] = {{nullptr, 0},
                  {launch.attributes, launch.attribute_count * sizeof(CUlaunchAttribute)}};
  status = pack_parameters(launch, *info, block, &blobs[0]);
  if (status != CUDA_SUCCESS) return status;
  if (launch.attribute_count == 0) blobs[1].data = nullptr;
  request.function = launch.function;
  memcpy(request.grid, launch.grid, sizeof(request.grid));
  memcpy(request.block, launch.block, sizeof(request.block));
  request.shared_bytes = launch.shared_bytes;
  return tell(request, blobs);
}

}  // namespace

CUresult pack_kernel_node(const CUDA_KERNEL_NODE_PARAMS& params, std::uint64_t function,
                          std::vector<std::uint8_t>& block) noexcept {
  const FunctionInfo* info = function_info(function);
  if (info == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const Launch launch{function,
                      nullptr,
                      {params.gridDimX, params.gridDimY, params.gridDimZ},
                      {params.blockDimX, params.blockDimY, params.blockDimZ},
                      params.sharedMemBytes,
                      params.kernelParams,
                      params.extra,
                      nullptr,
                      0};
  CUresult status = check_shape(launch, *info, current_device());
  if (status == CUDA_SUCCESS) status = check_cluster(launch, *info);
  if (status != CUDA_SUCCESS) return status;
  if (info->parameter_bytes > kMaxParameterBytes) return CUDA_ERROR_INVALID_VALUE;
  std::vector<std::uint8_t> room(info->parameter_bytes);
  Blob packed{nullptr, 0};
  status = pack_parameters(launch, *info, room.data(), &packed);
  if (status != CUDA_SUCCESS) return status;
  const auto* from = static_cast<const std::uint8_t*>(packed.data);
  block.assign(from, from + packed.size);
  return CUDA_SUCCESS;
}

namespace impl {

CUresult cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                        unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY,
                        unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream,
                        void** kernelParams, void** extra) {
  return launch_kernel({bits_of(f),
                        hStream,
                        {gridDimX, gridDimY, gridDimZ},
                        {blockDimX, blockDimY, blockDimZ},
                        sharedMemBytes,
                        kernelParams,
                        extra,
                        nullptr,
                        0});
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction f, void** kernelParams,
                          void** extra, StreamMode stream_mode) {
  if (config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUstream stream = config->hStream;
  if (stream == nullptr && stream_mode == StreamMode::per_thread) stream = CU_STREAM_PER_THREAD;
  return launch_kernel({bits_of(f),
                        stream,
                        {config->gridDimX, config->gridDimY, config->gridDimZ},
                        {config->blockDimX, config->blockDimY, config->blockDimZ},
                        config->sharedMemBytes,
                        kernelParams,
                        extra,
                        config->attrs,
                        config->numAttrs});
}

CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                                   unsigned int gridDimZ, unsigned int blockDimX,
                                   unsigned int blockDimY, unsigned int blockDimZ,
                                   unsigned int sharedMemBytes, CUstream hStream,
                                   void** kernelParams) {
  CUlaunchAttribute cooperative{};
  cooperative.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
  cooperative.value.cooperative = 1;
  return launch_kernel({bits_of(f),
                        hStream,
                        {gridDimX, gridDimY, gridDimZ},
                        {blockDimX, blockDimY, blockDimZ},
                        sharedMemBytes,
                        kernelParams,
                        nullptr,
                        &cooperative,
                        1});
}

}  // namespace impl
}  // namespace phos::client
