// SPDX-License-Identifier: Apache-2.0
// The seeded scheduler: programs that wait for everything they must are right with every seed, and
// programs that forget one wait (the canaries) are caught by some seed. Every run is a process of
// its own, because settings are read once a process; the parent never starts the driver.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "sim_fixture.h"

namespace phos::sim::test {
namespace {

constexpr int kSeeds = 24;
constexpr std::uint32_t kWords = 40000;  // more than one piece of a seeded copy

// What a program has at hand: two independent streams, device and pinned memory.
struct World {
  CUstream first = nullptr;
  CUstream second = nullptr;
  CUevent event = nullptr;
  CUdeviceptr data = 0;
  CUdeviceptr other = 0;
  std::uint32_t* host = nullptr;

  World() {
    const DriverTable& api = cuda();
    CUcontext context = nullptr;
    api.cuInit(0);
    api.cuDevicePrimaryCtxRetain(&context, 0);
    api.cuCtxSetCurrent(context);
    api.cuStreamCreate(&first, CU_STREAM_NON_BLOCKING);
    api.cuStreamCreate(&second, CU_STREAM_NON_BLOCKING);
    api.cuEventCreate(&event, 0);
    api.cuMemAlloc(&data, kWords * 4);
    api.cuMemAlloc(&other, kWords * 4);
    api.cuMemsetD8(data, 0, kWords * 4);
    api.cuMemsetD8(other, 0, kWords * 4);
    void* pinned = nullptr;
    api.cuMemHostAlloc(&pinned, kWords * 4, 0);
    host = static_cast<std::uint32_t*>(pinned);
    api.cuCtxSynchronize(nullptr);
  }
  bool host_is(std::uint32_t value) const {
    for (std::uint32_t i = 0; i < kWords; ++i) {
      if (host[i] != value) {
        return false;
      }
    }
    return true;
  }
};

// A program tells whether it saw what it had to see.
using Program = bool (*)(World&);

int wrong_runs(Program program) {
  int wrong = 0;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    const pid_t child = fork();
    if (child == 0) {
      setenv("PHOS_SIM_SEED", std::to_string(seed).c_str(), 1);
      World world;
      _exit(program(world) ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status)) << "seed " << seed << " died of " << status;
    wrong += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
  }
  return wrong;
}

template <bool waits>
bool read_back(World& world) {
  cuda().cuMemsetD32Async(world.data, 7, kWords, world.first);
  cuda().cuMemcpyDtoHAsync(world.host, world.data, kWords * 4, world.first);
  if (waits) {
    cuda().cuStreamSynchronize(world.first);
  }
  return world.host_is(7);
}

template <bool waits>
bool hand_over(World& world) {
  cuda().cuMemsetD32Async(world.data, 7, kWords, world.first);
  cuda().cuEventRecord(world.event, world.first);
  if (waits) {
    cuda().cuStreamWaitEvent(world.second, world.event, 0);
  }
  cuda().cuMemcpyDtoHAsync(world.host, world.data, kWords * 4, world.second);
  cuda().cuStreamSynchronize(world.second);
  return world.host_is(7);
}

template <bool waits>
bool reuse_source(World& world) {
  for (std::uint32_t i = 0; i < kWords; ++i) {
    world.host[i] = 7;
  }
  cuda().cuMemcpyHtoDAsync(world.data, world.host, kWords * 4, world.first);
  if (waits) {
    cuda().cuStreamSynchronize(world.first);
  }
  for (std::uint32_t i = 0; i < kWords; ++i) {
    world.host[i] = 8;
  }
  cuda().cuMemcpyDtoHAsync(world.host, world.data, kWords * 4, world.first);
  cuda().cuStreamSynchronize(world.first);
  return world.host_is(7);
}

template <bool waits>
bool overwrite_too_early(World& world) {
  cuda().cuMemsetD32Async(world.data, 7, kWords, world.first);
  cuda().cuMemcpyDtoDAsync(world.other, world.data, kWords * 4, world.first);
  cuda().cuEventRecord(world.event, world.first);
  if (waits) {
    cuda().cuStreamWaitEvent(world.second, world.event, 0);
  }
  cuda().cuMemsetD32Async(world.data, 9, kWords, world.second);
  cuda().cuStreamSynchronize(world.second);
  cuda().cuMemcpyDtoHAsync(world.host, world.other, kWords * 4, world.first);
  cuda().cuStreamSynchronize(world.first);
  return world.host_is(7);
}

// Streams that are created blocking need no event beside the legacy stream.
template <bool blocking>
bool through_legacy(World& world) {
  CUstream writer = world.first;
  if (blocking) {
    cuda().cuStreamCreate(&writer, CU_STREAM_DEFAULT);
  }
  cuda().cuMemsetD32Async(world.data, 7, kWords, writer);
  cuda().cuMemcpyDtoH(world.host, world.data, kWords * 4);
  return world.host_is(7);
}

// A synchronous copy of few pageable bytes has left the source when it returns, no more.
template <bool waits>
bool small_upload(World& world) {
  const std::uint32_t value = 7;
  cuda().cuMemcpyHtoD(world.data, &value, 4);
  if (waits) {
    cuda().cuStreamSynchronize(nullptr);
  }
  cuda().cuMemcpyDtoHAsync(world.host, world.data, 4, world.second);
  cuda().cuStreamSynchronize(world.second);
  return world.host[0] == 7;
}

template <bool joins>
bool graph_branches(World& world) {
  const DriverTable& api = cuda();
  CUgraph graph = nullptr;
  CUgraphNode left = nullptr;
  CUgraphNode right = nullptr;
  CUgraphNode copy = nullptr;
  CUDA_MEMSET_NODE_PARAMS fill{world.data, 0, 7, 4, kWords / 2, 1};
  api.cuGraphCreate(&graph, 0);
  api.cuGraphAddMemsetNode(&left, graph, nullptr, 0, &fill, nullptr);
  fill.dst += kWords / 2 * 4;
  api.cuGraphAddMemsetNode(&right, graph, nullptr, 0, &fill, nullptr);
  CUDA_MEMCPY3D whole{};
  whole.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  whole.srcDevice = world.data;
  whole.dstMemoryType = CU_MEMORYTYPE_HOST;
  whole.dstHost = world.host;
  whole.WidthInBytes = kWords * 4;
  whole.Height = 1;
  whole.Depth = 1;
  const CUgraphNode both[] = {left, right};
  api.cuGraphAddMemcpyNode(&copy, graph, both, joins ? 2 : 1, &whole, nullptr);
  CUgraphExec exec = nullptr;
  api.cuGraphInstantiateWithFlags(&exec, graph, 0);
  api.cuGraphLaunch(exec, world.first);
  api.cuStreamSynchronize(world.first);
  return world.host_is(7);
}

struct Case {
  const char* name;
  Program correct;
  Program forgetful;
};
const Case kCases[] = {
    {"ReadBack", read_back<true>, read_back<false>},
    {"HandOver", hand_over<true>, hand_over<false>},
    {"ReuseSource", reuse_source<true>, reuse_source<false>},
    {"OverwriteTooEarly", overwrite_too_early<true>, overwrite_too_early<false>},
    {"ThroughLegacy", through_legacy<true>, through_legacy<false>},
    {"SmallUpload", small_upload<true>, small_upload<false>},
    {"GraphBranches", graph_branches<true>, graph_branches<false>},
};

class Seeds : public testing::TestWithParam<Case> {};

TEST_P(Seeds, SpareTheCorrectProgram) { EXPECT_EQ(wrong_runs(GetParam().correct), 0); }

TEST_P(Seeds, CatchTheForgottenWait) { EXPECT_GT(wrong_runs(GetParam().forgetful), 0); }

INSTANTIATE_TEST_SUITE_P(Programs, Seeds, testing::ValuesIn(kCases),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace phos::sim::test
