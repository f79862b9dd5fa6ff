// SPDX-License-Identifier: Apache-2.0
// Kernels as nvcc writes them, from launch to result.
#include "support.h"

namespace phos::sim::ptx::test {
namespace {

constexpr std::string_view kVectorAdd = R"(
.version 9.0
.target sm_75
.address_size 64
.visible .entry vectorAdd(.param .u64 vectorAdd_param_0, .param .u64 vectorAdd_param_1,
                          .param .u64 vectorAdd_param_2, .param .u32 vectorAdd_param_3)
{
  .reg .pred %p<2>;
  .reg .f32 %f<4>;
  .reg .b32 %r<6>;
  .reg .b64 %rd<11>;
  ld.param.u64 %rd1, [vectorAdd_param_0];
  ld.param.u64 %rd2, [vectorAdd_param_1];
  ld.param.u64 %rd3, [vectorAdd_param_2];
  ld.param.u32 %r2, [vectorAdd_param_3];
  mov.u32 %r3, %ntid.x;
  mov.u32 %r4, %ctaid.x;
  mov.u32 %r5, %tid.x;
  mad.lo.s32 %r1, %r3, %r4, %r5;
  setp.ge.s32 %p1, %r1, %r2;
  @%p1 bra $L__BB0_2;
  cvta.to.global.u64 %rd4, %rd1;
  mul.wide.s32 %rd5, %r1, 4;
  add.s64 %rd6, %rd4, %rd5;
  cvta.to.global.u64 %rd7, %rd2;
  add.s64 %rd8, %rd7, %rd5;
  ld.global.f32 %f1, [%rd8];
  ld.global.f32 %f2, [%rd6];
  add.f32 %f3, %f2, %f1;
  cvta.to.global.u64 %rd9, %rd3;
  add.s64 %rd10, %rd9, %rd5;
  st.global.f32 [%rd10], %f3;
$L__BB0_2:
  ret;
}
)";

TEST(PtxBasics, VectorAddComputesEveryElement) {
  Device device;
  ASSERT_TRUE(device.load(kVectorAdd));
  const KernelInfo& info = device.module->kernels()[0];
  EXPECT_EQ(info.name, "vectorAdd");
  EXPECT_EQ(info.parameter_bytes, 28U);
  ASSERT_EQ(info.parameters.size(), 4U);
  EXPECT_EQ(info.parameters[3].offset, 24U);
  constexpr int n = 1000;  // the last block and the last warp are partly idle
  std::vector<float> a(n), b(n);
  for (int i = 0; i < n; ++i) {
    a[static_cast<std::size_t>(i)] = static_cast<float>(i) * 0.5F;
    b[static_cast<std::size_t>(i)] = static_cast<float>(n - i);
  }
  const std::uint64_t da = device.upload(a);
  const std::uint64_t db = device.upload(b);
  const std::uint64_t dc = device.allocate(n * sizeof(float));
  const Fault fault = device.run("vectorAdd", {4, 1, 1}, {256, 1, 1}, Arguments(da, db, dc, n));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  const auto c = device.download<float>(dc, n);
  for (std::size_t i = 0; i < n; ++i) {
    ASSERT_EQ(c[i], a[i] + b[i]) << i;
  }
}

TEST(PtxBasics, StrayAccessNamesBlockThreadOpcodeAndAddress) {
  Device device;
  ASSERT_TRUE(device.load(kVectorAdd));
  const std::uint64_t a = device.allocate(1024);
  const std::uint64_t b = device.allocate(4096);
  const Fault fault = device.run("vectorAdd", {4, 1, 1}, {256, 1, 1}, Arguments(a, b, b, 1000));
  EXPECT_EQ(fault.cuda_error, 700);
  EXPECT_EQ(fault.kernel, "vectorAdd");
  EXPECT_EQ(fault.block, (Dim3{1, 0, 0}));
  EXPECT_EQ(fault.thread, (Dim3{0, 0, 0}));
  EXPECT_EQ(fault.opcode, "ld.global.f32");
  EXPECT_EQ(fault.address, a + 1024);
  EXPECT_GT(fault.line, 1U);
}

TEST(PtxBasics, StoreToReadOnlyMemoryIsRefused) {
  Device device;
  ASSERT_TRUE(device.load(kVectorAdd));
  const std::uint64_t a = device.allocate(4096);
  const std::uint64_t c = device.allocate(4096, kExtentReadOnly);
  const Fault fault = device.run("vectorAdd", {1, 1, 1}, {64, 1, 1}, Arguments(a, a, c, 64));
  EXPECT_EQ(fault.cuda_error, 700);
  EXPECT_EQ(fault.opcode, "st.global.f32");
}

TEST(PtxBasics, RemovedMemoryIsNotFoundThroughACache) {
  Device device;
  ASSERT_TRUE(device.load(kVectorAdd));
  const std::uint64_t a = device.allocate(4096);
  const std::uint64_t c = device.allocate(4096);
  EXPECT_EQ(device.run("vectorAdd", {1, 1, 1}, {64, 1, 1}, Arguments(a, a, c, 64)).cuda_error, 0);
  ASSERT_TRUE(device.memory.remove(c));
  const Fault fault = device.run("vectorAdd", {1, 1, 1}, {64, 1, 1}, Arguments(a, a, c, 64));
  EXPECT_EQ(fault.cuda_error, 700);
  EXPECT_EQ(fault.address, c);
}

TEST(PtxBasics, AnyQuantumGivesTheSameResult) {
  for (const std::uint64_t quantum : {1U, 7U, 100U, 100000U}) {
    Device device;
    ASSERT_TRUE(device.load(kVectorAdd));
    const std::uint64_t a = device.upload(std::vector<float>(512, 2.0F));
    const std::uint64_t c = device.allocate(2048);
    const Fault fault = device.run("vectorAdd", {2, 1, 1}, {256, 1, 1}, Arguments(a, a, c, 512),
                                   {}, quantum);
    ASSERT_EQ(fault.cuda_error, 0) << fault.text();
    EXPECT_EQ(device.download<float>(c, 512), std::vector<float>(512, 4.0F));
  }
}

}  // namespace
}  // namespace phos::sim::ptx::test
