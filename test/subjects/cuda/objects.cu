// SPDX-License-Identifier: Apache-2.0
// A program that stops in the middle with objects in its hands that a checkpoint must bring back:
// textures and a surface of numbers with gaps, mapped physical memory, an explicit graph whose
// graph is gone. SUBJECT_GATE: the file whose coming lets it go on.
#include <cuda.h>
#include <unistd.h>

#include "judge.h"

namespace {

__global__ void add(int* data, int value) { data[threadIdx.x] += value; }
__global__ void read(cudaTextureObject_t t, float* out) {
  out[threadIdx.x] = tex2D<float>(t, static_cast<float>(threadIdx.x) + 0.5f, 0.5f);
}
__global__ void write(cudaSurfaceObject_t s, float value) {
  surf2Dwrite(value, s, static_cast<int>(threadIdx.x) * 4, 0);
}


void wait_at_gate() {
  OK(cudaDeviceSynchronize());
  std::fprintf(stderr, "ready\n");
  const char* gate = std::getenv("SUBJECT_GATE");
  while (gate != nullptr && access(gate, F_OK) != 0) usleep(2000);
}

struct Mapped {
  CUdeviceptr first = 0;
  CUdeviceptr second = 0;
  size_t bytes = 0;
  Mapped() {
    CUmemAllocationProp prop{};
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    DRV(cuMemGetAllocationGranularity(&bytes, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    CUmemGenericAllocationHandle handle = 0;
    DRV(cuMemCreate(&handle, bytes, &prop, 0));
    DRV(cuMemAddressReserve(&first, bytes, 0, 0, 0));
    DRV(cuMemAddressReserve(&second, 4 * bytes, 0, 0, 0));
    CUmemAccessDesc access{};
    access.location = prop.location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    for (const CUdeviceptr at : {first, second + bytes}) {
      DRV(cuMemMap(at, bytes, 0, handle, 0));
      DRV(cuMemSetAccess(at, bytes, &access, 1));
    }
    DRV(cuMemRelease(handle));
    DRV(cuMemsetD32(first, 7, bytes / 4));
  }
  void check() const {
    int words[2] = {0, 0};
    DRV(cuMemcpyDtoH(words, second + bytes, 8));
    CHECK(words[0] == 7 && words[1] == 7);
    DRV(cuMemsetD32(second + bytes, 8, 2));
    DRV(cuMemcpyDtoH(words, first, 8));
    CHECK(words[0] == 8 && words[1] == 8);
    DRV(cuMemUnmap(first, bytes));
    DRV(cuMemUnmap(second + bytes, bytes));
    DRV(cuMemAddressFree(first, bytes));
    DRV(cuMemAddressFree(second, 4 * bytes));
  }
};

cudaGraphExec_t explicit_graph(int* data, int* calls) {
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  cudaGraphNode_t first, second, third;
  int one = 1, ten = 10;
  void* args[2] = {&data, &one};
  void* more[2] = {&data, &ten};
  OK(cudaGraphCreate(&graph, 0));
  cudaKernelNodeParams params{};
  params.func = reinterpret_cast<void*>(add);
  params.gridDim = dim3(1);
  params.blockDim = dim3(32);
  params.kernelParams = args;
  OK(cudaGraphAddKernelNode(&first, graph, nullptr, 0, &params));
  OK(cudaGraphAddKernelNode(&second, graph, &first, 1, &params));
  cudaHostNodeParams host{};
  host.fn = [](void* count) { ++*static_cast<int*>(count); };
  host.userData = calls;
  OK(cudaGraphAddHostNode(&third, graph, &second, 1, &host));
  OK(cudaGraphInstantiate(&exec, graph, 0));
  params.kernelParams = more;
  OK(cudaGraphExecKernelNodeSetParams(exec, second, &params));
  OK(cudaGraphDestroy(graph));
  return exec;
}

void check_all() {
  static int calls = 0;
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  cudaArray_t array = nullptr;
  OK(cudaMallocArray(&array, &format, 8, 1, cudaArraySurfaceLoadStore));
  const float from[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  OK(cudaMemcpy2DToArray(array, 0, 0, from, 32, 32, 1, cudaMemcpyHostToDevice));
  cudaResourceDesc resource{};
  resource.resType = cudaResourceTypeArray;
  resource.res.array.array = array;
  cudaTextureDesc how{};
  how.readMode = cudaReadModeElementType;
  cudaTextureObject_t gap = 0, texture = 0;
  cudaSurfaceObject_t surface = 0;
  OK(cudaCreateTextureObject(&gap, &resource, &how, nullptr));
  OK(cudaCreateTextureObject(&texture, &resource, &how, nullptr));
  OK(cudaCreateSurfaceObject(&surface, &resource));
  OK(cudaDestroyTextureObject(gap));
  const Mapped mapped;
  Device<int> data(32);
  Device<float> out(8);
  const cudaGraphExec_t exec = explicit_graph(data.at, &calls);
  OK(cudaGraphLaunch(exec, nullptr));
  write<<<1, 4>>>(surface, 50);
  wait_at_gate();
  OK(cudaGraphLaunch(exec, nullptr));
  OK(cudaDeviceSynchronize());
  CHECK(calls == 2 && data.read()[31] == 22);
  read<<<1, 8>>>(texture, out.at);
  CHECK(out.read()[0] == 50 && out.read()[3] == 50 && out.read()[4] == 4);
  write<<<1, 8>>>(surface, 60);
  read<<<1, 8>>>(texture, out.at);
  CHECK(out.read()[7] == 60);
  mapped.check();
  OK(cudaDestroyTextureObject(texture));
  OK(cudaDestroySurfaceObject(surface));
  OK(cudaFreeArray(array));
  OK(cudaGraphExecDestroy(exec));
}

}  // namespace

TEST(objects_in_the_middle) { check_all(); }
