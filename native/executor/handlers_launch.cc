// SPDX-License-Identifier: Apache-2.0
// Kernel launches and functions of the program that run in stream order.
#include <cstring>

#include "executor/callbacks.h"
#include "executor/handler_tools.h"
#include "gen/executor_handlers.h"

namespace phos::executor {

namespace {

// The driver takes a kernel of a library wherever it takes a function.
CUresult resolve_function(Session& session, std::uint64_t wire, CUfunction* function) noexcept {
  const bool is_kernel =
      is_handle(wire) && handle_type(wire) == static_cast<std::uint8_t>(HandleType::kernel);
  const HandleType type = is_kernel ? HandleType::kernel : HandleType::function;
  void* real = nullptr;
  const CUresult result = session.resolve_use(type, wire, &real);
  *function = static_cast<CUfunction>(real);
  return result;
}

// Events of attributes become the driver's; attributes that hand out handles are refused.
CUresult resolve_attributes(Session& session, std::vector<CUlaunchAttribute>& attributes) {
  for (CUlaunchAttribute& attribute : attributes) {
    CUevent* event = nullptr;
    if (attribute.id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT) {
      event = &attribute.value.programmaticEvent.event;
    } else if (attribute.id == CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT) {
      event = &attribute.value.launchCompletionEvent.event;
    } else if (attribute.id == CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE) {
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    if (event == nullptr) continue;
    void* real = nullptr;
    // SAFETY: the client put a phos handle where the driver's event goes.
    const auto wire = reinterpret_cast<std::uint64_t>(*event);
    const CUresult result = session.resolve(HandleType::event, wire, false, &real);
    if (result != CUDA_SUCCESS) return result;
    *event = static_cast<CUevent>(real);
  }
  return CUDA_SUCCESS;
}

template <class Request>
CUlaunchConfig config_of(const Request& request, std::vector<CUlaunchAttribute>& attributes) {
  CUlaunchConfig config{};
  config.gridDimX = request.grid[0];
  config.gridDimY = request.grid[1];
  config.gridDimZ = request.grid[2];
  config.blockDimX = request.block[0];
  config.blockDimY = request.block[1];
  config.blockDimZ = request.block[2];
  config.sharedMemBytes = request.shared_bytes;
  config.attrs = attributes.data();
  config.numAttrs = static_cast<unsigned int>(attributes.size());
  return config;
}

// Occupancy queries take a whole launch configuration.
template <class Request, class Rep, class Call>
void ask_about_clusters(Session& session, const Command& command, Reply& reply,
                        const Call& call) {
  const auto* request = request_of<Request>(session, command, reply);
  if (request == nullptr) return;
  std::span<const CUlaunchAttribute> given;
  CUfunction function = nullptr;
  if (!array_of(session, command, request->attributes, &given)) {
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  std::vector<CUlaunchAttribute> attributes(given.begin(), given.end());
  CUlaunchConfig config = config_of(*request, attributes);
  CUresult result = resolve_function(session, request->function, &function);
  if (result == CUDA_SUCCESS) result = stream_of(session, request->stream, &config.hStream);
  if (result == CUDA_SUCCESS) result = resolve_attributes(session, attributes);
  Rep answer{};
  int value = 0;
  if (result == CUDA_SUCCESS) result = call(&value, function, &config);
  answer.value = value;
  reply.finish(result, &answer, sizeof(answer));
}

}  // namespace

void handle_cuOccupancyMaxActiveClusters(Session& session, const Command& command, Reply& reply) {
  ask_about_clusters<codec::Req_cuOccupancyMaxActiveClusters,
                     codec::Rep_cuOccupancyMaxActiveClusters>(
      session, command, reply, session.driver().cuOccupancyMaxActiveClusters);
}

void handle_cuOccupancyMaxPotentialClusterSize(Session& session, const Command& command,
                                               Reply& reply) {
  ask_about_clusters<codec::Req_cuOccupancyMaxPotentialClusterSize,
                     codec::Rep_cuOccupancyMaxPotentialClusterSize>(
      session, command, reply, session.driver().cuOccupancyMaxPotentialClusterSize);
}

void handle_phos_launch(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_launch>(session, command, reply);
  if (request == nullptr) return;
  std::span<const std::uint8_t> parameters;
  std::span<const CUlaunchAttribute> given;
  if (!array_of(session, command, request->parameters, &parameters) ||
      !array_of(session, command, request->attributes, &given)) {
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  CUfunction function = nullptr;
  CUstream stream = nullptr;
  CUresult result = resolve_function(session, request->function, &function);
  if (result == CUDA_SUCCESS) result = stream_of(session, request->stream, &stream);
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  std::size_t bytes = parameters.size();
  // SAFETY: the driver reads the block and does not write it; its type is void * by tradition.
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, const_cast<std::uint8_t*>(parameters.data()),
                   CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
  void** block = bytes == 0 ? nullptr : extra;
  const DriverTable& driver = session.driver();
  if (given.empty()) {
    reply.finish(driver.cuLaunchKernel(function, request->grid[0], request->grid[1],
                                       request->grid[2], request->block[0], request->block[1],
                                       request->block[2], request->shared_bytes, stream, nullptr,
                                       block));
    return;
  }
  std::vector<CUlaunchAttribute> attributes(given.begin(), given.end());
  result = resolve_attributes(session, attributes);
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  CUlaunchConfig config = config_of(*request, attributes);
  config.hStream = stream;
  reply.finish(driver.cuLaunchKernelEx(&config, function, nullptr, block));
}

void handle_phos_host_function(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_host_function>(session, command, reply);
  if (request == nullptr) return;
  CUstream stream = nullptr;
  CUresult result = stream_of(session, request->stream, &stream);
  if (result == CUDA_SUCCESS) {
    result = session.callbacks().enqueue(stream, request->id, request->kind == 1);
  }
  reply.finish(result);
}

}  // namespace phos::executor
