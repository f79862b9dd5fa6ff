// SPDX-License-Identifier: Apache-2.0
// Occupancy of clusters. The other occupancy calls are generated: the driver's arithmetic is asked.
#include "client/call.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

constexpr unsigned kMaxAttributes = 64;

template <class Req, class Rep>
CUresult ask_cluster(CallId call, int* result, CUfunction function,
                     const CUlaunchConfig* config) noexcept {
  if (const CUresult status = require_context(); status != CUDA_SUCCESS) return status;
  if (result == nullptr || config == nullptr || config->numAttrs > kMaxAttributes ||
      (config->numAttrs != 0 && config->attrs == nullptr)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Req request{};
  Rep reply{};
  CUresult status =
      handle_arg(HandleType::function, bits_of(function), false, &request.function);
  if (status == CUDA_SUCCESS) {
    status = handle_arg(HandleType::stream, bits_of(config->hStream), true, &request.stream);
  }
  if (status != CUDA_SUCCESS) return status;
  const unsigned grid[] = {config->gridDimX, config->gridDimY, config->gridDimZ};
  const unsigned block[] = {config->blockDimX, config->blockDimY, config->blockDimZ};
  for (int i = 0; i < 3; ++i) {
    request.grid[i] = grid[i];
    request.block[i] = block[i];
  }
  request.shared_bytes = config->sharedMemBytes;
  request.attribute_count = config->numAttrs;
  const Blob in[] = {{config->numAttrs == 0 ? nullptr : config->attrs,
                      config->numAttrs * sizeof(CUlaunchAttribute)}};
  status = call_sync(call, request, in, &reply, {});
  if (status == CUDA_SUCCESS) *result = reply.value;
  return status;
}

}  // namespace

namespace impl {

CUresult cuOccupancyMaxPotentialClusterSize(int* clusterSize, CUfunction func,
                                            const CUlaunchConfig* config) {
  return ask_cluster<codec::Req_cuOccupancyMaxPotentialClusterSize,
                     codec::Rep_cuOccupancyMaxPotentialClusterSize>(
      CallId::cuOccupancyMaxPotentialClusterSize, clusterSize, func, config);
}

CUresult cuOccupancyMaxActiveClusters(int* numClusters, CUfunction func,
                                      const CUlaunchConfig* config) {
  return ask_cluster<codec::Req_cuOccupancyMaxActiveClusters,
                     codec::Rep_cuOccupancyMaxActiveClusters>(
      CallId::cuOccupancyMaxActiveClusters, numClusters, func, config);
}

}  // namespace impl
}  // namespace phos::client
