// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/graph_params.h"

#include "drivers/sim/copy_shape.h"
#include "drivers/sim/launch.h"
#include "drivers/sim/module.h"
#include "drivers/sim/operations.h"
#include "drivers/sim/runtime.h"

namespace phos::sim {

CUresult make_kernel(Context& context, const CUDA_KERNEL_NODE_PARAMS& parameters, Made& made) {
  LaunchRequest request;
  request.function = parameters.func != nullptr
                         ? parameters.func
                         : as_handle<CUfunction>(handle_bits(parameters.kern));
  request.grid[0] = parameters.gridDimX;
  request.grid[1] = parameters.gridDimY;
  request.grid[2] = parameters.gridDimZ;
  request.block[0] = parameters.blockDimX;
  request.block[1] = parameters.blockDimY;
  request.block[2] = parameters.blockDimZ;
  request.shared_bytes = parameters.sharedMemBytes;
  request.parameters = parameters.kernelParams;
  request.extra = parameters.extra;
  Launch launch;
  const CUresult result = prepare_launch(context, request, launch);
  if (result == CUDA_SUCCESS) {
    made = std::make_unique<KernelOperation>(std::move(launch));
  }
  return result;
}

CUresult make_memcpy(const CUDA_MEMCPY3D* copy, Made& made) {
  if (copy == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  CopyShape shape;
  CopySides sides;
  const CUresult result = shape_of(*copy, shape, sides);
  if (result == CUDA_SUCCESS) {
    made = std::make_unique<CopyOperation>(shape);
  }
  return result;
}

CUresult make_memset(const CUDA_MEMSET_NODE_PARAMS* parameters, Made& made) {
  if (parameters == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const MemsetShape shape{parameters->dst,         parameters->pitch, parameters->value,
                          parameters->elementSize, parameters->width, parameters->height};
  const CUresult result = check_memset(shape);
  if (result == CUDA_SUCCESS) {
    made = std::make_unique<MemsetOperation>(shape);
  }
  return result;
}

CUresult make_host(const CUDA_HOST_NODE_PARAMS* parameters, Made& made) {
  if (parameters == nullptr || parameters->fn == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  made = std::make_unique<HostOperation>(parameters->fn, parameters->userData);
  return CUDA_SUCCESS;
}

CUresult make_record(CUevent handle, Made& made) {
  std::shared_ptr<Event> event = runtime().events.share(handle_bits(handle));
  if (!event) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  made = std::make_unique<RecordOperation>(std::move(event));
  return CUDA_SUCCESS;
}

CUresult make_wait(CUevent handle, Made& made) {
  std::shared_ptr<Event> event = runtime().events.share(handle_bits(handle));
  if (!event) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  made = std::make_unique<WaitOperation>(std::move(event));
  return CUDA_SUCCESS;
}

CUresult make_batch(const CUDA_BATCH_MEM_OP_NODE_PARAMS* parameters, Made& made) {
  if (parameters == nullptr || parameters->paramArray == nullptr || parameters->count == 0 ||
      parameters->count > 256) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  made = std::make_unique<MemoryOperation>(std::vector<CUstreamBatchMemOpParams>(
      parameters->paramArray, parameters->paramArray + parameters->count));
  return CUDA_SUCCESS;
}

CUresult make_any(Context& context, const CUgraphNodeParams& parameters, Made& made,
                  std::shared_ptr<Graph>& child) {
  switch (parameters.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
      const auto& in = parameters.kernel;
      const CUDA_KERNEL_NODE_PARAMS kernel{
          in.func,      in.gridDimX,     in.gridDimY, in.gridDimZ, in.blockDimX, in.blockDimY,
          in.blockDimZ, in.sharedMemBytes, in.kernelParams, in.extra, in.kern, in.ctx};
      return make_kernel(context, kernel, made);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY:
      return make_memcpy(&parameters.memcpy.copyParams, made);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      const auto& in = parameters.memset;
      const CUDA_MEMSET_NODE_PARAMS fill{in.dst,         in.pitch, in.value,
                                         in.elementSize, in.width, in.height};
      return make_memset(&fill, made);
    }
    case CU_GRAPH_NODE_TYPE_HOST: {
      const CUDA_HOST_NODE_PARAMS host{parameters.host.fn, parameters.host.userData};
      return make_host(&host, made);
    }
    case CU_GRAPH_NODE_TYPE_EMPTY:
      made = std::make_unique<EmptyOperation>();
      return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
      return make_wait(parameters.eventWait.event, made);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      return make_record(parameters.eventRecord.event, made);
    case CU_GRAPH_NODE_TYPE_GRAPH: {
      const Graph* source = runtime().graphs.find(handle_bits(parameters.graph.graph));
      if (source == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      child = clone_graph(*source);
      return child ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}

CUDA_KERNEL_NODE_PARAMS describe_kernel(GraphNode& node) {
  auto& launch = static_cast<KernelOperation&>(*node.operation).launch();
  node.parameter_pointers.clear();
  for (const auto& parameter : launch.function->info->parameters) {
    node.parameter_pointers.push_back(
        const_cast<std::byte*>(launch.parameters.data() + parameter.offset));
  }
  CUDA_KERNEL_NODE_PARAMS out{};
  out.func = as_handle<CUfunction>(launch.function->handle);
  out.gridDimX = launch.grid.x;
  out.gridDimY = launch.grid.y;
  out.gridDimZ = launch.grid.z;
  out.blockDimX = launch.block.x;
  out.blockDimY = launch.block.y;
  out.blockDimZ = launch.block.z;
  out.sharedMemBytes = launch.shared_bytes;
  out.kernelParams = node.parameter_pointers.empty() ? nullptr : node.parameter_pointers.data();
  out.kern = node.kernel;
  // Of a library's kernel it is the kernel that is known to whoever asks (the CUDA runtime does).
  const Library* library = launch.module->library;
  if (library != nullptr) {
    const auto found = library->kernels.find(launch.function->info->name);
    if (found != library->kernels.end()) {
      out.func = nullptr;
      out.kern = as_handle<CUkernel>(found->second->handle);
    }
  }
  out.ctx = as_handle<CUcontext>(launch.module->context->handle);
  return out;
}

CUresult node_context(Entry& entry, CUcontext named, Context** context) {
  const CUresult ready = entry.with_context();
  if (named == nullptr) {
    if (ready == CUDA_SUCCESS) {
      *context = &entry.context();
    }
    return ready;
  }
  *context = runtime().contexts.find(handle_bits(named));
  if (*context == nullptr) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  return (*context)->error;
}

}  // namespace phos::sim
