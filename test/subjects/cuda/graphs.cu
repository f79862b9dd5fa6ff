// SPDX-License-Identifier: Apache-2.0
// Graphs: captured across streams, put together node by node, updated, cloned, nested.
#include "judge.h"

namespace {

__global__ void add(int* data, int value) { data[threadIdx.x] += value; }
__global__ void times(int* data, int value) { data[threadIdx.x] *= value; }
__global__ void sum_of(const int* a, const int* b, int* out) {
  out[threadIdx.x] = a[threadIdx.x] + b[threadIdx.x];
}

struct Kernel {
  int* data;
  int value;
  void* args[2] = {&data, &value};
  cudaKernelNodeParams params{};
  Kernel(void (*what)(int*, int), int* at, int number) : data(at), value(number) {
    params.func = reinterpret_cast<void*>(what);
    params.gridDim = dim3(1);
    params.blockDim = dim3(32);
    params.kernelParams = args;
  }
};

struct Run {
  cudaStream_t stream = nullptr;
  cudaGraphExec_t exec = nullptr;
  explicit Run(cudaGraph_t graph) {
    OK(cudaStreamCreate(&stream));
    OK(cudaGraphInstantiate(&exec, graph, 0));
  }
  void launch(int times = 1) const {
    for (int i = 0; i < times; ++i) OK(cudaGraphLaunch(exec, stream));
    OK(cudaStreamSynchronize(stream));
  }
  ~Run() {
    cudaGraphExecDestroy(exec);
    cudaStreamDestroy(stream);
  }
};

}  // namespace

TEST(graph_capture_forks_and_joins) {
  Device<int> a(32), b(32), out(32);
  cudaStream_t main_stream, side;
  cudaEvent_t fork, join;
  OK(cudaStreamCreate(&main_stream));
  OK(cudaStreamCreate(&side));
  OK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
  OK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
  cudaGraph_t graph;
  OK(cudaStreamBeginCapture(main_stream, cudaStreamCaptureModeThreadLocal));
  OK(cudaMemsetAsync(a.at, 0, 128, main_stream));
  OK(cudaEventRecord(fork, main_stream));
  OK(cudaStreamWaitEvent(side, fork, 0));
  add<<<1, 32, 0, main_stream>>>(a.at, 2);
  add<<<1, 32, 0, side>>>(b.at, 3);
  OK(cudaEventRecord(join, side));
  OK(cudaStreamWaitEvent(main_stream, join, 0));
  sum_of<<<1, 32, 0, main_stream>>>(a.at, b.at, out.at);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  OK(cudaStreamIsCapturing(side, &status));
  CHECK(status == cudaStreamCaptureStatusActive);
  OK(cudaStreamEndCapture(main_stream, &graph));
  {
    const Run run(graph);
    run.launch(4);
  }
  CHECK(out.read()[9] == 2 + 12);
  OK(cudaGraphDestroy(graph));
  OK(cudaEventDestroy(fork));
  OK(cudaEventDestroy(join));
  OK(cudaStreamDestroy(side));
  OK(cudaStreamDestroy(main_stream));
}

TEST(graph_of_kernel_copy_and_fill_nodes) {
  Device<int> data(32);
  std::vector<int> host(32, 1);
  cudaGraph_t graph;
  cudaGraphNode_t fill, first, second, copy;
  OK(cudaGraphCreate(&graph, 0));
  cudaMemsetParams set{};
  set.dst = data.at;
  set.elementSize = 4;
  set.width = 32;
  set.height = 1;
  set.value = 5;
  OK(cudaGraphAddMemsetNode(&fill, graph, nullptr, 0, &set));
  const Kernel plus(add, data.at, 2), by(times, data.at, 10);
  OK(cudaGraphAddKernelNode(&first, graph, &fill, 1, &plus.params));
  OK(cudaGraphAddKernelNode(&second, graph, &first, 1, &by.params));
  OK(cudaGraphAddMemcpyNode1D(&copy, graph, &second, 1, host.data(), data.at, 128,
                              cudaMemcpyDeviceToHost));
  {
    const Run run(graph);
    run.launch(3);
  }
  CHECK(host[0] == 70 && host[31] == 70);
  OK(cudaGraphDestroy(graph));
}

TEST(graph_with_host_nodes) {
  static int calls = 0;
  calls = 0;
  Device<int> data(32);
  cudaGraph_t graph;
  cudaGraphNode_t kernel, host;
  OK(cudaGraphCreate(&graph, 0));
  const Kernel plus(add, data.at, 1);
  OK(cudaGraphAddKernelNode(&kernel, graph, nullptr, 0, &plus.params));
  cudaHostNodeParams params{};
  params.fn = [](void* count) { ++*static_cast<int*>(count); };
  params.userData = &calls;
  OK(cudaGraphAddHostNode(&host, graph, &kernel, 1, &params));
  {
    const Run run(graph);
    run.launch(5);
  }
  CHECK(calls == 5 && data.read()[0] == 5);
  OK(cudaGraphDestroy(graph));
}

TEST(graph_topology_queries) {
  Device<int> data(32);
  cudaGraph_t graph;
  cudaGraphNode_t a, b, c, nodes[4], from[4], to[4];
  OK(cudaGraphCreate(&graph, 0));
  const Kernel plus(add, data.at, 1);
  OK(cudaGraphAddKernelNode(&a, graph, nullptr, 0, &plus.params));
  OK(cudaGraphAddEmptyNode(&b, graph, &a, 1));
  OK(cudaGraphAddKernelNode(&c, graph, nullptr, 0, &plus.params));
  OK(cudaGraphAddDependencies(graph, &b, &c, nullptr, 1));
  size_t count = 4;
  OK(cudaGraphGetNodes(graph, nodes, &count));
  CHECK(count == 3);
  OK(cudaGraphGetRootNodes(graph, nodes, &count));
  CHECK(count == 1 && nodes[0] == a);
  count = 4;
  OK(cudaGraphGetEdges(graph, from, to, nullptr, &count));
  CHECK(count == 2);
  count = 4;
  OK(cudaGraphNodeGetDependencies(c, nodes, nullptr, &count));
  CHECK(count == 1 && nodes[0] == b);
  count = 4;
  OK(cudaGraphNodeGetDependentNodes(a, nodes, nullptr, &count));
  CHECK(count == 1 && nodes[0] == b);
  cudaGraphNodeType type;
  OK(cudaGraphNodeGetType(b, &type));
  CHECK(type == cudaGraphNodeTypeEmpty);
  OK(cudaGraphNodeGetType(a, &type));
  CHECK(type == cudaGraphNodeTypeKernel);
  OK(cudaGraphRemoveDependencies(graph, &b, &c, nullptr, 1));
  OK(cudaGraphDestroyNode(b));
  count = 4;
  OK(cudaGraphGetNodes(graph, nullptr, &count));
  CHECK(count == 2);
  OK(cudaGraphDestroy(graph));
}

TEST(graph_nodes_of_a_capture) {
  Device<int> data(32);
  cudaStream_t stream;
  cudaGraph_t graph;
  OK(cudaStreamCreate(&stream));
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  add<<<1, 32, 0, stream>>>(data.at, 1);
  times<<<1, 32, 0, stream>>>(data.at, 3);
  OK(cudaStreamEndCapture(stream, &graph));
  cudaGraphNode_t nodes[4];
  size_t count = 4;
  OK(cudaGraphGetNodes(graph, nodes, &count));
  CHECK(count == 2);
  cudaKernelNodeParams params{};
  OK(cudaGraphKernelNodeGetParams(nodes[0], &params));
  CHECK(params.blockDim.x == 32 && params.gridDim.x == 1);
  const Kernel plus(add, data.at, 100);
  {
    const Run run(graph);
    run.launch();
    CHECK(data.read()[0] == 3);
    cudaGraphNode_t first = nullptr;
    count = 1;
    OK(cudaGraphGetRootNodes(graph, &first, &count));
    OK(cudaGraphExecKernelNodeSetParams(run.exec, first, &plus.params));
    run.launch();
  }
  CHECK(data.read()[0] == 309);
  OK(cudaGraphDestroy(graph));
  OK(cudaStreamDestroy(stream));
}

TEST(graph_exec_parameters_change) {
  Device<int> data(32), other(32);
  cudaGraph_t graph;
  cudaGraphNode_t node, fill;
  OK(cudaGraphCreate(&graph, 0));
  cudaMemsetParams set{};
  set.dst = data.at;
  set.elementSize = 4;
  set.width = 32;
  set.height = 1;
  OK(cudaGraphAddMemsetNode(&fill, graph, nullptr, 0, &set));
  const Kernel plus(add, data.at, 1), more(add, other.at, 9), third(add, data.at, 50);
  OK(cudaGraphAddKernelNode(&node, graph, &fill, 1, &plus.params));
  {
    const Run run(graph);
    run.launch();
    OK(cudaGraphExecKernelNodeSetParams(run.exec, node, &more.params));
    set.value = 4;
    OK(cudaGraphExecMemsetNodeSetParams(run.exec, fill, &set));
    run.launch(2);
    CHECK(data.read()[0] == 4 && other.read()[0] == 18);
  }
  OK(cudaGraphKernelNodeSetParams(node, &third.params));
  cudaKernelNodeParams back{};
  OK(cudaGraphKernelNodeGetParams(node, &back));
  CHECK(*static_cast<int*>(back.kernelParams[1]) == 50);
  {
    const Run run(graph);
    run.launch();
  }
  CHECK(data.read()[0] == 50);
  OK(cudaGraphDestroy(graph));
}

TEST(graph_exec_update_from_a_new_capture) {
  Device<int> data(32);
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  cudaGraphExec_t exec = nullptr;
  for (int i = 1; i <= 5; ++i) {
    cudaGraph_t graph;
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    add<<<1, 32, 0, stream>>>(data.at, i);
    OK(cudaStreamEndCapture(stream, &graph));
    if (exec == nullptr) {
      OK(cudaGraphInstantiate(&exec, graph, 0));
    } else {
      cudaGraphExecUpdateResultInfo info{};
      OK(cudaGraphExecUpdate(exec, graph, &info));
      CHECK(info.result == cudaGraphExecUpdateSuccess);
    }
    OK(cudaGraphDestroy(graph));
    OK(cudaGraphLaunch(exec, stream));
  }
  OK(cudaStreamSynchronize(stream));
  CHECK(data.read()[4] == 15);
  cudaGraph_t different;
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  add<<<1, 32, 0, stream>>>(data.at, 1);
  add<<<1, 32, 0, stream>>>(data.at, 1);
  OK(cudaStreamEndCapture(stream, &different));
  cudaGraphExecUpdateResultInfo info{};
  EXPECT(cudaErrorGraphExecUpdateFailure, cudaGraphExecUpdate(exec, different, &info));
  CHECK(info.result == cudaGraphExecUpdateErrorTopologyChanged);
  cudaGetLastError();
  OK(cudaGraphDestroy(different));
  OK(cudaGraphExecDestroy(exec));
  OK(cudaStreamDestroy(stream));
}

TEST(graph_clone_and_child) {
  Device<int> data(32);
  cudaGraph_t inner, clone, outer;
  cudaGraphNode_t node, in_clone, child, after;
  OK(cudaGraphCreate(&inner, 0));
  const Kernel plus(add, data.at, 1), ten(add, data.at, 10), by(times, data.at, 2);
  OK(cudaGraphAddKernelNode(&node, inner, nullptr, 0, &plus.params));
  OK(cudaGraphClone(&clone, inner));
  OK(cudaGraphNodeFindInClone(&in_clone, node, clone));
  OK(cudaGraphKernelNodeSetParams(in_clone, &ten.params));
  OK(cudaGraphCreate(&outer, 0));
  OK(cudaGraphAddChildGraphNode(&child, outer, nullptr, 0, inner));
  OK(cudaGraphAddKernelNode(&after, outer, &child, 1, &by.params));
  cudaGraph_t held = nullptr;
  OK(cudaGraphChildGraphNodeGetGraph(child, &held));
  size_t count = 0;
  OK(cudaGraphGetNodes(held, nullptr, &count));
  CHECK(count == 1);
  {
    const Run first(clone), second(outer);
    first.launch();
    second.launch();
  }
  CHECK(data.read()[0] == 22);
  OK(cudaGraphDestroy(inner));
  OK(cudaGraphDestroy(clone));
  OK(cudaGraphDestroy(outer));
}

TEST(graph_memory_nodes_captured) {
  Device<int> out(32);
  cudaStream_t stream;
  cudaGraph_t graph;
  OK(cudaStreamCreate(&stream));
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  int* scratch = nullptr;
  OK(cudaMallocAsync(&scratch, 128, stream));
  OK(cudaMemsetAsync(scratch, 0, 128, stream));
  add<<<1, 32, 0, stream>>>(scratch, 4);
  sum_of<<<1, 32, 0, stream>>>(scratch, out.at, out.at);
  OK(cudaFreeAsync(scratch, stream));
  OK(cudaStreamEndCapture(stream, &graph));
  {
    const Run run(graph);
    run.launch(3);
  }
  CHECK(out.read()[31] == 12);
  OK(cudaGraphDestroy(graph));
  OK(cudaDeviceGraphMemTrim(0));
  OK(cudaStreamDestroy(stream));
}

TEST(graph_memory_nodes_explicit) {
  Device<int> out(32);
  cudaGraph_t graph;
  cudaGraphNode_t alloc, kernel, free_node, fill;
  OK(cudaGraphCreate(&graph, 0));
  cudaMemAllocNodeParams params{};
  params.poolProps.allocType = cudaMemAllocationTypePinned;
  params.poolProps.location.type = cudaMemLocationTypeDevice;
  params.bytesize = 128;
  OK(cudaGraphAddMemAllocNode(&alloc, graph, nullptr, 0, &params));
  CHECK(params.dptr != nullptr);
  cudaMemsetParams set{};
  set.dst = params.dptr;
  set.elementSize = 4;
  set.width = 32;
  set.height = 1;
  set.value = 6;
  OK(cudaGraphAddMemsetNode(&fill, graph, &alloc, 1, &set));
  int* a = static_cast<int*>(params.dptr);
  void* args[3] = {&a, &out.at, &out.at};
  cudaKernelNodeParams launch{};
  launch.func = reinterpret_cast<void*>(sum_of);
  launch.gridDim = dim3(1);
  launch.blockDim = dim3(32);
  launch.kernelParams = args;
  OK(cudaGraphAddKernelNode(&kernel, graph, &fill, 1, &launch));
  OK(cudaGraphAddMemFreeNode(&free_node, graph, &kernel, 1, params.dptr));
  {
    const Run run(graph);
    run.launch(2);
  }
  CHECK(out.read()[0] == 12);
  OK(cudaGraphDestroy(graph));
}

TEST(graph_event_nodes) {
  Device<int> data(32);
  cudaEvent_t event;
  cudaGraph_t graph;
  cudaGraphNode_t kernel, record;
  OK(cudaEventCreate(&event));
  OK(cudaGraphCreate(&graph, 0));
  const Kernel plus(add, data.at, 1);
  OK(cudaGraphAddKernelNode(&kernel, graph, nullptr, 0, &plus.params));
  OK(cudaGraphAddEventRecordNode(&record, graph, &kernel, 1, event));
  {
    const Run run(graph);
    run.launch();
    OK(cudaEventSynchronize(event));
  }
  CHECK(data.read()[0] == 1);
  OK(cudaGraphDestroy(graph));
  OK(cudaEventDestroy(event));
}

TEST(graph_node_disabled) {
  Device<int> data(32);
  cudaGraph_t graph;
  cudaGraphNode_t first, second;
  OK(cudaGraphCreate(&graph, 0));
  const Kernel plus(add, data.at, 1), ten(add, data.at, 10);
  OK(cudaGraphAddKernelNode(&first, graph, nullptr, 0, &plus.params));
  OK(cudaGraphAddKernelNode(&second, graph, &first, 1, &ten.params));
  {
    const Run run(graph);
    unsigned enabled = 9;
    OK(cudaGraphNodeSetEnabled(run.exec, second, 0));
    OK(cudaGraphNodeGetEnabled(run.exec, second, &enabled));
    CHECK(enabled == 0);
    run.launch();
    OK(cudaGraphNodeSetEnabled(run.exec, second, 1));
    run.launch();
  }
  CHECK(data.read()[0] == 12);
  OK(cudaGraphDestroy(graph));
}
