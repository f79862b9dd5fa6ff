// SPDX-License-Identifier: Apache-2.0
// Grids: blocks that wait for others, cooperative launches, order, and what launches leave behind.
#include <algorithm>

#include "support.h"

namespace phos::sim::ptx::test {
namespace {

// Every block waits until the last one has come.
constexpr std::string_view kWaitForLast = R"(
    ld.param.u64 %rd0, [out];
    mov.u32 %r0, %ctaid.x;
    mov.u32 %r1, %nctaid.x;
    atom.global.add.u32 %r2, [%rd0], 1;
  WAIT:
    ld.acquire.gpu.global.u32 %r3, [%rd0];
    setp.lt.u32 %p1, %r3, %r1;
    @%p1 bra WAIT;
    mul.wide.u32 %rd1, %r0, 4;
    add.s64 %rd2, %rd0, %rd1;
    st.global.u32 [%rd2+4], %r3;
    ret;
)";

TEST(PtxGrid, CooperativeBlocksAreAllResident) {
  Device device;
  ASSERT_TRUE(device.load(kernel_text("k", ".param .u64 out", kWaitForLast)));
  const std::uint64_t out = device.allocate(4 * 501);
  LaunchConfig config;
  config.cooperative = true;
  const Fault fault = device.run("k", {500, 1, 1}, {1, 1, 1}, Arguments(out), config);
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  EXPECT_EQ(device.download<std::uint32_t>(out, 501), std::vector<std::uint32_t>(501, 500));
}

TEST(PtxGrid, BlocksThatPollLetOthersIn) {
  Device device;
  ASSERT_TRUE(device.load(kernel_text("k", ".param .u64 out", kWaitForLast)));
  const std::uint64_t out = device.allocate(4 * 41);
  const Fault fault = device.run("k", {40, 1, 1}, {1, 1, 1}, Arguments(out));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  EXPECT_EQ(device.download<std::uint32_t>(out, 41), std::vector<std::uint32_t>(41, 40));
}

// The i-th block to run writes its index to place i.
constexpr std::string_view kOrder = R"(
    ld.param.u64 %rd0, [out];
    mov.u32 %r0, %ctaid.x;
    atom.global.add.u32 %r1, [%rd0], 1;
    mul.wide.u32 %rd1, %r1, 4;
    add.s64 %rd2, %rd0, %rd1;
    st.global.u32 [%rd2+4], %r0;
    ret;
)";

std::vector<std::uint32_t> order_of(std::uint64_t seed) {
  Device device;
  if (!device.load(kernel_text("k", ".param .u64 out", kOrder))) {
    return {};
  }
  const std::uint64_t out = device.allocate(4 * 201);
  LaunchConfig config;
  config.order_seed = seed;
  EXPECT_EQ(device.run("k", {200, 1, 1}, {1, 1, 1}, Arguments(out), config).cuda_error, 0);
  auto order = device.download<std::uint32_t>(out, 201);
  order.erase(order.begin());
  return order;
}

TEST(PtxGrid, SeedPermutesBlocksReproducibly) {
  const auto plain = order_of(0);
  EXPECT_TRUE(std::is_sorted(plain.begin(), plain.end()));
  auto seeded = order_of(7);
  EXPECT_NE(seeded, plain);
  EXPECT_EQ(seeded, order_of(7));
  EXPECT_NE(seeded, order_of(8));
  std::sort(seeded.begin(), seeded.end());
  EXPECT_EQ(seeded, plain);
}

TEST(PtxGrid, SpecialRegistersNameThreadAndBlock) {
  Device device;
  ASSERT_TRUE(device.load(kernel_text("k", ".param .u64 out", R"(
    ld.param.u64 %rd0, [out];
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, %tid.y;
    mov.u32 %r2, %tid.z;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %ntid.y;
    mov.u32 %r5, %ctaid.x;
    mov.u32 %r6, %ctaid.y;
    mov.u32 %r7, %nctaid.x;
    mov.u32 %r8, %ntid.z;
    mad.lo.u32 %r10, %r2, %r4, %r1;
    mad.lo.u32 %r10, %r10, %r3, %r0;
    mad.lo.u32 %r11, %r6, %r7, %r5;
    mul.lo.u32 %r12, %r3, %r4;
    mul.lo.u32 %r12, %r12, %r8;
    mad.lo.u32 %r13, %r11, %r12, %r10;
    mul.wide.u32 %rd1, %r13, 4;
    add.s64 %rd2, %rd0, %rd1;
    st.global.u32 [%rd2], %r13;
    ret;
  )")));
  const std::size_t count = 3 * 2 * 5 * 3 * 4;
  const std::uint64_t out = device.allocate(count * 4);
  const Fault fault = device.run("k", {3, 2, 1}, {5, 3, 4}, Arguments(out));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  const auto values = device.download<std::uint32_t>(out, count);
  for (std::uint32_t i = 0; i < count; ++i) {
    EXPECT_EQ(values[i], i);
  }
}

TEST(PtxGrid, LaunchesOfDifferentShapesDoNotDisturbEachOther) {
  Device device;
  ASSERT_TRUE(device.load(kernel_text("k", ".param .u64 out, .param .u32 add", R"(
    .extern .shared .align 4 .b8 dyn[];
    ld.param.u64 %rd0, [out];
    ld.param.u32 %r9, [add];
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, %ntid.x;
    shl.b32 %r2, %r0, 2;
    mov.u32 %r3, dyn;
    add.u32 %r4, %r3, %r2;
    add.u32 %r5, %r0, %r9;
    st.shared.u32 [%r4], %r5;
    bar.sync 0;
    sub.u32 %r6, %r1, %r0;
    shl.b32 %r6, %r6, 2;
    add.u32 %r7, %r3, %r6;
    ld.shared.u32 %r8, [%r7+-4];
    mul.wide.u32 %rd1, %r0, 4;
    add.s64 %rd2, %rd0, %rd1;
    st.global.u32 [%rd2], %r8;
    ret;
  )")));
  const std::uint64_t out = device.allocate(4096);
  for (const std::uint32_t threads : {32U, 200U, 7U, 1024U, 32U}) {
    LaunchConfig config;
    config.dynamic_shared_bytes = threads * 4;
    const Fault fault = device.run("k", {1, 1, 1}, {threads, 1, 1}, Arguments(out, threads),
                                   config);
    ASSERT_EQ(fault.cuda_error, 0) << fault.text();
    const auto values = device.download<std::uint32_t>(out, threads);
    for (std::uint32_t i = 0; i < threads; ++i) {
      EXPECT_EQ(values[i], threads - 1 - i + threads) << threads;
    }
  }
  LaunchConfig config;
  config.dynamic_shared_bytes = 64;
  const Fault fault = device.run("k", {1, 1, 1}, {32, 1, 1}, Arguments(out, 0U), config);
  EXPECT_EQ(fault.cuda_error, 700);
  EXPECT_EQ(fault.opcode, "st.shared.u32");
  EXPECT_EQ(fault.thread, (Dim3{16, 0, 0}));
}

TEST(PtxGrid, ExecutionRefusesWhatIsUnsafe) {
  Device device;
  ASSERT_TRUE(device.load(kernel_text("k", ".param .u64 out", "ret;")));
  LaunchConfig config;
  EXPECT_EQ(Execution::create(*device.module, 0, device.memory, device.sink, config), nullptr);
  const Arguments arguments(std::uint64_t{0});
  config.parameters = arguments.bytes();
  EXPECT_NE(Execution::create(*device.module, 0, device.memory, device.sink, config), nullptr);
  config.block = {1025, 1, 1};
  EXPECT_EQ(Execution::create(*device.module, 0, device.memory, device.sink, config), nullptr);
  config.block = {1, 1, 1};
  EXPECT_EQ(Execution::create(*device.module, 3, device.memory, device.sink, config), nullptr);
}

}  // namespace
}  // namespace phos::sim::ptx::test
