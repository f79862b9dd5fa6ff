// SPDX-License-Identifier: Apache-2.0
#include <atomic>

#include "sim_fixture.h"

namespace phos::sim::test {
namespace {

class Graphs : public SimTest {
 protected:
  void SetUp() override {
    SimTest::SetUp();
    ASSERT_CUDA(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    data = allocate(4096);
    ASSERT_CUDA(cuMemsetD8(data, 0, 4096));
    result = pinned<std::uint32_t>(16);
    ASSERT_CUDA(cuCtxSynchronize(nullptr));
  }
  CUgraphExec instantiate(CUgraph graph) {
    CUgraphExec exec = nullptr;
    EXPECT_CUDA(cuGraphInstantiateWithFlags(&exec, graph, 0));
    return exec;
  }
  void launch(CUgraphExec exec) {
    ASSERT_CUDA(cuGraphLaunch(exec, stream));
    ASSERT_CUDA(cuStreamSynchronize(stream));
  }
  std::size_t node_count(CUgraph graph) {
    std::size_t count = 0;
    EXPECT_CUDA(cuGraphGetNodes(graph, nullptr, &count));
    return count;
  }
  CUstream stream = nullptr;
  CUdeviceptr data = 0;
  std::uint32_t* result = nullptr;
};

TEST_F(Graphs, RecordInsteadOfRunning) {
  ASSERT_CUDA(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  CUstreamCaptureStatus status{};
  ASSERT_CUDA(cuStreamIsCapturing(stream, &status));
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
  ASSERT_CUDA(cuMemsetD32Async(data, 42, 4, stream));
  ASSERT_CUDA(cuMemcpyDtoHAsync(result, data, 16, stream));
  CUgraph graph = nullptr;
  ASSERT_CUDA(cuStreamEndCapture(stream, &graph));
  EXPECT_EQ(node_count(graph), 2U);
  EXPECT_EQ(download<std::uint32_t>(data, 1)[0], 0U);
  CUgraphExec exec = instantiate(graph);
  ASSERT_CUDA(cuGraphDestroy(graph));
  launch(exec);
  EXPECT_EQ(result[3], 42U);
  result[3] = 0;
  launch(exec);
  EXPECT_EQ(result[3], 42U);
  EXPECT_CUDA(cuGraphExecDestroy(exec));
  EXPECT_ERROR(cuGraphLaunch(exec, stream), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Graphs, FollowEventsToOtherStreams) {
  CUstream side = nullptr;
  ASSERT_CUDA(cuStreamCreate(&side, CU_STREAM_NON_BLOCKING));
  CUevent fork = nullptr;
  CUevent join = nullptr;
  ASSERT_CUDA(cuEventCreate(&fork, 0));
  ASSERT_CUDA(cuEventCreate(&join, 0));
  ASSERT_CUDA(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  ASSERT_CUDA(cuMemsetD32Async(data, 1, 1, stream));
  ASSERT_CUDA(cuEventRecord(fork, stream));
  ASSERT_CUDA(cuStreamWaitEvent(side, fork, 0));
  ASSERT_CUDA(cuMemsetD32Async(data + 4, 2, 1, side));
  EXPECT_ERROR(cuEventQuery(fork), CUDA_ERROR_CAPTURED_EVENT);
  CUgraph graph = nullptr;
  // That query made the capture invalid; and so is its end.
  EXPECT_ERROR(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_EQ(graph, nullptr);

  ASSERT_CUDA(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  ASSERT_CUDA(cuMemsetD32Async(data, 1, 1, stream));
  ASSERT_CUDA(cuEventRecord(fork, stream));
  ASSERT_CUDA(cuStreamWaitEvent(side, fork, 0));
  ASSERT_CUDA(cuMemsetD32Async(data + 4, 2, 1, side));
  ASSERT_CUDA(cuMemsetD32Async(data + 8, 3, 1, stream));
  ASSERT_CUDA(cuEventRecord(join, side));
  ASSERT_CUDA(cuStreamWaitEvent(stream, join, 0));
  ASSERT_CUDA(cuMemcpyDtoHAsync(result, data, 12, stream));
  ASSERT_CUDA(cuStreamEndCapture(stream, &graph));
  EXPECT_EQ(node_count(graph), 4U);
  std::size_t edges = 0;
  ASSERT_CUDA(cuGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
  EXPECT_EQ(edges, 4U);
  launch(instantiate(graph));
  EXPECT_EQ(result[0] + result[1] + result[2], 6U);
}

TEST_F(Graphs, RefuseWhatACaptureCannotHold) {
  CUgraph graph = nullptr;
  EXPECT_ERROR(cuStreamEndCapture(stream, &graph), CUDA_ERROR_ILLEGAL_STATE);
  EXPECT_ERROR(cuStreamBeginCapture(nullptr, CU_STREAM_CAPTURE_MODE_RELAXED),
               CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  ASSERT_CUDA(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  EXPECT_ERROR(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED),
               CUDA_ERROR_ILLEGAL_STATE);
  EXPECT_ERROR(cuStreamSynchronize(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_ERROR(cuMemsetD8Async(data, 0, 1, stream), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_ERROR(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_CUDA(cuStreamQuery(stream));

  CUstream side = nullptr;
  CUevent fork = nullptr;
  ASSERT_CUDA(cuStreamCreate(&side, CU_STREAM_NON_BLOCKING));
  ASSERT_CUDA(cuEventCreate(&fork, 0));
  ASSERT_CUDA(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  ASSERT_CUDA(cuEventRecord(fork, stream));
  ASSERT_CUDA(cuStreamWaitEvent(side, fork, 0));
  ASSERT_CUDA(cuMemsetD8Async(data, 0, 1, side));
  EXPECT_ERROR(cuStreamEndCapture(side, &graph), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  EXPECT_ERROR(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  EXPECT_CUDA(cuStreamQuery(side));

  CUstream blocking = nullptr;
  ASSERT_CUDA(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
  ASSERT_CUDA(cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
  CUstreamCaptureStatus status{};
  EXPECT_ERROR(cuStreamIsCapturing(nullptr, &status), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  EXPECT_ERROR(cuMemsetD8(data, 0, 1), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  EXPECT_ERROR(cuStreamEndCapture(blocking, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

TEST_F(Graphs, AreBuiltByHand) {
  CUgraph graph = nullptr;
  ASSERT_CUDA(cuGraphCreate(&graph, 0));
  CUgraphNode fill = nullptr;
  CUgraphNode copy = nullptr;
  CUgraphNode call = nullptr;
  CUDA_MEMSET_NODE_PARAMS fill_params{data, 0, 0x11, 1, 64, 1};
  ASSERT_CUDA(cuGraphAddMemsetNode(&fill, graph, nullptr, 0, &fill_params, context));
  CUDA_MEMCPY3D copy_params{};
  copy_params.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  copy_params.srcDevice = data;
  copy_params.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy_params.dstHost = result;
  copy_params.WidthInBytes = 64;
  copy_params.Height = 1;
  copy_params.Depth = 1;
  ASSERT_CUDA(cuGraphAddMemcpyNode(&copy, graph, &fill, 1, &copy_params, context));
  static std::atomic<unsigned> seen;
  seen = 0;
  CUDA_HOST_NODE_PARAMS call_params{
      [](void* from) { seen = *static_cast<std::uint32_t*>(from); }, result + 15};
  ASSERT_CUDA(cuGraphAddHostNode(&call, graph, &copy, 1, &call_params));
  CUgraphExec exec = instantiate(graph);
  launch(exec);
  EXPECT_EQ(seen, 0x11111111U);

  fill_params.value = 0x22;
  ASSERT_CUDA(cuGraphExecMemsetNodeSetParams(exec, fill, &fill_params, context));
  launch(exec);
  EXPECT_EQ(seen, 0x22222222U);
  ASSERT_CUDA(cuGraphNodeSetEnabled(exec, copy, 0));
  ASSERT_CUDA(cuGraphExecMemsetNodeSetParams(exec, fill, &fill_params, context));
  result[15] = 5;
  launch(exec);
  EXPECT_EQ(seen, 5U);

  CUDA_MEMSET_NODE_PARAMS read{};
  ASSERT_CUDA(cuGraphMemsetNodeGetParams(fill, &read));
  EXPECT_EQ(read.value, 0x11U);  // the graph itself has not changed
  ASSERT_CUDA(cuGraphMemsetNodeSetParams(fill, &fill_params));
  CUgraphExecUpdateResultInfo info{};
  ASSERT_CUDA(cuGraphExecUpdate(exec, graph, &info));
  CUgraphNode extra = nullptr;
  ASSERT_CUDA(cuGraphAddEmptyNode(&extra, graph, &call, 1));
  EXPECT_ERROR(cuGraphExecUpdate(exec, graph, &info), CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  EXPECT_EQ(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
}

TEST_F(Graphs, ShowTheirShape) {
  CUgraph graph = nullptr;
  ASSERT_CUDA(cuGraphCreate(&graph, 0));
  CUgraphNode nodes[3]{};
  ASSERT_CUDA(cuGraphAddEmptyNode(&nodes[0], graph, nullptr, 0));
  ASSERT_CUDA(cuGraphAddEmptyNode(&nodes[1], graph, &nodes[0], 1));
  ASSERT_CUDA(cuGraphAddEmptyNode(&nodes[2], graph, nullptr, 0));
  ASSERT_CUDA(cuGraphAddDependencies(graph, &nodes[1], &nodes[2], nullptr, 1));
  EXPECT_ERROR(cuGraphAddDependencies(graph, &nodes[1], &nodes[2], nullptr, 1),
               CUDA_ERROR_INVALID_VALUE);
  std::size_t count = 0;
  ASSERT_CUDA(cuGraphGetRootNodes(graph, nullptr, &count));
  EXPECT_EQ(count, 1U);
  CUgraph copy = nullptr;
  ASSERT_CUDA(cuGraphClone(&copy, graph));
  CUgraphNode twin = nullptr;
  ASSERT_CUDA(cuGraphNodeFindInClone(&twin, nodes[1], copy));
  EXPECT_NE(twin, nodes[1]);
  CUgraphNode before[4]{};
  count = 4;
  ASSERT_CUDA(cuGraphNodeGetDependencies(twin, before, nullptr, &count));
  EXPECT_EQ(count, 1U);
  CUgraphNode origin = nullptr;
  ASSERT_CUDA(cuGraphNodeFindInClone(&origin, nodes[0], copy));
  EXPECT_EQ(before[0], origin);
  ASSERT_CUDA(cuGraphDestroyNode(nodes[1]));
  EXPECT_EQ(node_count(graph), 2U);
  EXPECT_EQ(node_count(copy), 3U);
  CUgraphNodeType type{};
  EXPECT_ERROR(cuGraphNodeGetType(nodes[1], &type), CUDA_ERROR_INVALID_VALUE);
  ASSERT_CUDA(cuGraphAddDependencies(graph, &nodes[0], &nodes[2], nullptr, 1));
  ASSERT_CUDA(cuGraphAddDependencies(graph, &nodes[2], &nodes[0], nullptr, 1));
  CUgraphExec exec = nullptr;
  EXPECT_ERROR(cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Graphs, HoldOthersAndEvents) {
  CUgraph child = nullptr;
  ASSERT_CUDA(cuGraphCreate(&child, 0));
  CUgraphNode inner = nullptr;
  CUDA_MEMSET_NODE_PARAMS fill{data, 0, 7, 4, 1, 1};
  ASSERT_CUDA(cuGraphAddMemsetNode(&inner, child, nullptr, 0, &fill, context));
  CUevent event = nullptr;
  ASSERT_CUDA(cuEventCreate(&event, 0));
  CUgraph graph = nullptr;
  ASSERT_CUDA(cuGraphCreate(&graph, 0));
  CUgraphNode first = nullptr;
  CUgraphNode nested = nullptr;
  CUgraphNode record = nullptr;
  CUDA_MEMSET_NODE_PARAMS before{data, 0, 1, 4, 2, 1};
  ASSERT_CUDA(cuGraphAddMemsetNode(&first, graph, nullptr, 0, &before, context));
  ASSERT_CUDA(cuGraphAddChildGraphNode(&nested, graph, &first, 1, child));
  ASSERT_CUDA(cuGraphAddEventRecordNode(&record, graph, &nested, 1, event));
  ASSERT_CUDA(cuGraphDestroy(child));
  CUgraphExec exec = instantiate(graph);
  ASSERT_CUDA(cuGraphLaunch(exec, stream));
  ASSERT_CUDA(cuEventSynchronize(event));
  const auto words = download<std::uint32_t>(data, 2);
  EXPECT_EQ(words[0], 7U);
  EXPECT_EQ(words[1], 1U);
  // Captured again, a launch becomes a child graph.
  ASSERT_CUDA(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  ASSERT_CUDA(cuGraphLaunch(exec, stream));
  CUgraph outer = nullptr;
  ASSERT_CUDA(cuStreamEndCapture(stream, &outer));
  CUgraphNode only = nullptr;
  std::size_t count = 1;
  ASSERT_CUDA(cuGraphGetNodes(outer, &only, &count));
  CUgraphNodeType type{};
  ASSERT_CUDA(cuGraphNodeGetType(only, &type));
  EXPECT_EQ(type, CU_GRAPH_NODE_TYPE_GRAPH);
  launch(instantiate(outer));
}

}  // namespace
}  // namespace phos::sim::test
