// SPDX-License-Identifier: Apache-2.0
// Matrix instructions against plain products of small integers, which every order of summation
// gives exactly.
#include "support.h"

namespace phos::sim::ptx::test {
namespace {

// Small integers as halves: sign, and values up to 7.
std::uint16_t half_of(int value) {
  const std::uint16_t magnitude[] = {0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700};
  return static_cast<std::uint16_t>(magnitude[value < 0 ? -value : value] |
                                    (value < 0 ? 0x8000 : 0));
}

int element(int i) { return (i * 37 + 11) % 15 - 7; }

std::vector<std::uint16_t> halves(std::size_t count, int seed) {
  std::vector<std::uint16_t> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = half_of(element(static_cast<int>(i) + seed));
  }
  return values;
}

TEST(PtxMatrix, WmmaMultipliesRowsByColumns) {
  Device device;
  ASSERT_TRUE(device.load(kernel_text("k", ".param .u64 a, .param .u64 b, .param .u64 d", R"(
    .reg .b32 %a<8>; .reg .b32 %b<8>; .reg .f32 %d<8>;
    ld.param.u64 %rd0, [a];
    ld.param.u64 %rd1, [b];
    ld.param.u64 %rd2, [d];
    mov.u32 %r0, 16;
    wmma.load.a.sync.aligned.row.m16n16k16.global.f16
        {%a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7}, [%rd0], %r0;
    wmma.load.b.sync.aligned.col.m16n16k16.global.f16
        {%b0, %b1, %b2, %b3, %b4, %b5, %b6, %b7}, [%rd1], %r0;
    mov.f32 %f0, 0f3F800000;
    wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32
        {%d0, %d1, %d2, %d3, %d4, %d5, %d6, %d7},
        {%a0, %a1, %a2, %a3, %a4, %a5, %a6, %a7},
        {%b0, %b1, %b2, %b3, %b4, %b5, %b6, %b7},
        {%f0, %f0, %f0, %f0, %f0, %f0, %f0, %f0};
    wmma.store.d.sync.aligned.row.m16n16k16.global.f32
        [%rd2], {%d0, %d1, %d2, %d3, %d4, %d5, %d6, %d7}, %r0;
    ret;
  )")));
  const std::uint64_t a = device.upload(halves(256, 0));
  const std::uint64_t b = device.upload(halves(256, 5));
  const std::uint64_t d = device.allocate(1024);
  const Fault fault = device.run("k", {1, 1, 1}, {32, 1, 1}, Arguments(a, b, d));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  const auto result = device.download<float>(d, 256);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 16; ++column) {
      int sum = 1;
      for (int k = 0; k < 16; ++k) {
        sum += element(row * 16 + k) * element(column * 16 + k + 5);
      }
      EXPECT_EQ(result[static_cast<std::size_t>(row * 16 + column)], static_cast<float>(sum));
    }
  }
}

// a by ldmatrix from shared memory, b by ldmatrix of its transpose, as GEMM kernels do.
TEST(PtxMatrix, MmaWithFragmentsOfLdmatrix) {
  Device device;
  ASSERT_TRUE(device.load(kernel_text("k", ".param .u64 a, .param .u64 b, .param .u64 d", R"(
    .shared .align 16 .b8 ta[512];
    .shared .align 16 .b8 tb[256];
    ld.param.u64 %rd0, [a];
    ld.param.u64 %rd1, [b];
    ld.param.u64 %rd2, [d];
    mov.u32 %r0, %tid.x;
    mul.lo.u32 %r1, %r0, 16;
    cvt.u64.u32 %rd3, %r1;
    add.u64 %rd4, %rd0, %rd3;
    ld.global.v4.b32 {%r2, %r3, %r4, %r5}, [%rd4];
    mov.u32 %r6, ta;
    add.u32 %r7, %r6, %r1;
    st.shared.v4.b32 [%r7], {%r2, %r3, %r4, %r5};
    setp.lt.u32 %p1, %r0, 16;
    add.u64 %rd5, %rd1, %rd3;
    mov.u32 %r8, tb;
    add.u32 %r9, %r8, %r1;
    @%p1 ld.global.v4.b32 {%r2, %r3, %r4, %r5}, [%rd5];
    @%p1 st.shared.v4.b32 [%r9], {%r2, %r3, %r4, %r5};
    bar.warp.sync -1;
    and.b32 %r10, %r0, 15;
    shr.u32 %r11, %r0, 4;
    shl.b32 %r10, %r10, 5;
    shl.b32 %r11, %r11, 4;
    add.u32 %r12, %r10, %r11;
    add.u32 %r12, %r12, %r6;
    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r20, %r21, %r22, %r23}, [%r12];
    and.b32 %r13, %r0, 15;
    shl.b32 %r13, %r13, 4;
    add.u32 %r13, %r13, %r8;
    ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r24, %r25}, [%r13];
    mov.f32 %f0, 0f00000000;
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4},
        {%r20, %r21, %r22, %r23}, {%r24, %r25}, {%f0, %f0, %f0, %f0};
    shr.u32 %r30, %r0, 2;
    and.b32 %r31, %r0, 3;
    shl.b32 %r30, %r30, 5;
    shl.b32 %r31, %r31, 3;
    add.u32 %r32, %r30, %r31;
    cvt.u64.u32 %rd6, %r32;
    add.u64 %rd7, %rd2, %rd6;
    st.global.v2.f32 [%rd7], {%f1, %f2};
    st.global.v2.f32 [%rd7+256], {%f3, %f4};
    ret;
  )")));
  const std::uint64_t a = device.upload(halves(256, 3));   // 16 x 16 by rows
  const std::uint64_t b = device.upload(halves(128, 20));  // 16 x 8 by rows
  const std::uint64_t d = device.allocate(512);
  const Fault fault = device.run("k", {1, 1, 1}, {32, 1, 1}, Arguments(a, b, d));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  const auto result = device.download<float>(d, 128);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      int sum = 0;
      for (int k = 0; k < 16; ++k) {
        sum += element(row * 16 + k + 3) * element(k * 8 + column + 20);
      }
      EXPECT_EQ(result[static_cast<std::size_t>(row * 8 + column)], static_cast<float>(sum))
          << row << "," << column;
    }
  }
}

TEST(PtxMatrix, BytesAndSaturation) {
  Device device;
  ASSERT_TRUE(device.load(kernel_text("k", ".param .u64 d", R"(
    ld.param.u64 %rd0, [d];
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, 0x7f7f7f7f;
    mov.u32 %r2, 0x80808080;
    mov.u32 %r3, 0x7fffff00;
    mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32 {%r4, %r5, %r6, %r7},
        {%r1, %r1, %r1, %r1}, {%r1, %r1}, {%r3, %r3, 5, 5};
    mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%r8, %r9, %r10, %r11},
        {%r2, %r2, %r2, %r2}, {%r2, %r2}, {0, 0, 0, 0};
    mul.wide.u32 %rd1, %r0, 16;
    add.u64 %rd2, %rd0, %rd1;
    st.global.v4.u32 [%rd2], {%r4, %r6, %r8, %r11};
    ret;
  )")));
  const std::uint64_t d = device.allocate(512);
  const Fault fault = device.run("k", {1, 1, 1}, {32, 1, 1}, Arguments(d));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  const auto result = device.download<std::int32_t>(d, 128);
  for (std::size_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(result[4 * lane], INT32_MAX);
    EXPECT_EQ(result[4 * lane + 1], 32 * 127 * 127 + 5);
    EXPECT_EQ(result[4 * lane + 2], 32 * 128 * -128);
    EXPECT_EQ(result[4 * lane + 3], 32 * 128 * -128);
  }
}

}  // namespace
}  // namespace phos::sim::ptx::test
