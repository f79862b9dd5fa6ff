// SPDX-License-Identifier: Apache-2.0
// Grids on several threads, indexed accesses, mbarrier and video.
#include "ptx/threads.h"
#include "support.h"

namespace phos::sim::ptx::test {
namespace {

// Holds within a test only.
class Threads {
 public:
  explicit Threads(std::uint32_t count) { set_threads(count); }
  ~Threads() { set_threads(1); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
};

constexpr std::string_view kWhere =
    "mov.u32 %r0, %ctaid.x; mov.u32 %r1, %ntid.x; mov.u32 %r2, %tid.x;\n"
    "mad.lo.u32 %r3, %r0, %r1, %r2;\nld.param.u64 %rd0, [d];\n";

TEST(PtxThreads, GiveWhatOneThreadGives) {
  const std::string text = kernel_text("k", ".param .u64 d", std::string(kWhere) + R"(
    mul.wide.u32 %rd1, %r3, 4; add.u64 %rd2, %rd0, %rd1;
    mul.lo.u32 %r4, %r3, %r3; st.global.u32 [%rd2], %r4; ret;)");
  for (const std::uint32_t threads : {1U, 2U, 5U}) {
    const Threads now(threads);
    Device device;
    ASSERT_TRUE(device.load(text));
    const std::uint64_t d = device.allocate(256 * 256 * 4);
    // A small quantum, so that threads stop in the middle and go on.
    const Fault fault = device.run("k", {256, 1, 1}, {256, 1, 1}, Arguments(d), {}, 777);
    ASSERT_EQ(fault.cuda_error, 0) << fault.text();
    EXPECT_GT(device.instructions, 256U * 8);
    const auto values = device.download<std::uint32_t>(d, 256 * 256);
    for (std::uint32_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], i * i) << threads;
    }
  }
}

TEST(PtxThreads, TheFirstBlockThatFaultsIsNamed) {
  const std::string text = kernel_text("k", ".param .u64 d", std::string(kWhere) + R"(
    setp.lt.u32 %p1, %r0, 100; @%p1 bra fine;
    st.global.u32 [%rd0+4096], %r3;
    fine: ret;)");
  const Threads now(4);
  for (int round = 0; round < 20; ++round) {
    Device device;
    ASSERT_TRUE(device.load(text));
    const std::uint64_t d = device.allocate(64);
    const Fault fault = device.run("k", {200, 1, 1}, {64, 1, 1}, Arguments(d));
    EXPECT_EQ(fault.cuda_error, kErrorIllegalAddress);
    EXPECT_EQ(fault.block, (Dim3{100, 0, 0})) << fault.text();
  }
}

TEST(PtxIndexes, IndexesKeepTheirMeaning) {
  // Negative indexes, a product that is read elsewhere too, an index that changes afterwards, and
  // lanes that go one by one.
  const std::string text = kernel_text("k", ".param .u64 d, .param .u64 s", R"(
    ld.param.u64 %rd0, [d]; ld.param.u64 %rd5, [s]; mov.u32 %r2, %tid.x;
    sub.s32 %r4, %r2, 32;
    mul.wide.s32 %rd1, %r4, 4; add.s64 %rd2, %rd5, %rd1; ld.global.u32 %r5, [%rd2+128];
    mul.wide.u32 %rd3, %r2, 8; add.s64 %rd4, %rd0, %rd3;
    mov.u32 %r2, 7;
    and.b32 %r6, %r5, 1; setp.eq.u32 %p1, %r6, 0;
    @%p1 st.global.u32 [%rd4], %r5;
    cvt.u32.u64 %r7, %rd3; st.global.u32 [%rd4+4], %r7; ret;)");
  Device device;
  ASSERT_TRUE(device.load(text));
  std::vector<std::uint32_t> source(32);
  for (std::uint32_t i = 0; i < 32; ++i) {
    source[i] = 1000 + i * 3;
  }
  const std::uint64_t s = device.upload(source);
  const std::uint64_t d = device.upload(std::vector<std::uint32_t>(64, 9));
  const Fault fault = device.run("k", {}, {32, 1, 1}, Arguments(d, s));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  const auto values = device.download<std::uint32_t>(d, 64);
  for (std::uint32_t i = 0; i < 32; ++i) {
    EXPECT_EQ(values[2 * i], source[i] % 2 == 0 ? source[i] : 9) << i;
    EXPECT_EQ(values[2 * i + 1], 8 * i);
  }
}

TEST(PtxIndexes, FaultsNameTheAddress) {
  const std::string text = kernel_text("k", ".param .u64 d", R"(
    ld.param.u64 %rd0, [d]; mov.u32 %r2, %tid.x;
    mul.wide.u32 %rd1, %r2, 4; add.s64 %rd2, %rd0, %rd1; st.global.u32 [%rd2+64], %r2; ret;)");
  Device device;
  ASSERT_TRUE(device.load(text));
  const std::uint64_t d = device.allocate(128);
  const Fault fault = device.run("k", {}, {32, 1, 1}, Arguments(d));
  EXPECT_EQ(fault.cuda_error, kErrorIllegalAddress);
  EXPECT_EQ(fault.address, d + 128);
  EXPECT_EQ(fault.thread, (Dim3{16, 0, 0}));
}

TEST(PtxBarrier, PhasesOfAnMbarrierFollowEachOther) {
  const std::string text = kernel_text("k", ".param .u64 d", R"(
    .shared .align 8 .b64 bar; .shared .u32 sum[96];
    ld.param.u64 %rd0, [d]; mov.u32 %r2, %tid.x; mov.u32 %r8, bar; mov.u32 %r9, sum;
    setp.ne.u32 %p1, %r2, 0; @%p1 bra ready; mbarrier.init.shared.b64 [%r8], 96;
    ready: bar.sync 0;
    shl.b32 %r3, %r2, 2; add.u32 %r4, %r9, %r3; mov.u32 %r10, 0; mov.u32 %r11, 0;
    again: add.u32 %r12, %r2, %r10; st.shared.u32 [%r4], %r12;
    mbarrier.arrive.shared.b64 %rd3, [%r8];
    wait: mbarrier.test_wait.shared.b64 %p2, [%r8], %rd3; @!%p2 bra wait;
    sub.u32 %r5, 380, %r3; add.u32 %r6, %r9, %r5; ld.shared.u32 %r7, [%r6];
    add.u32 %r11, %r11, %r7; bar.sync 0;
    add.u32 %r10, %r10, 1; setp.lt.u32 %p3, %r10, 5; @%p3 bra again;
    mbarrier.pending_count.b64 %r13, %rd3;
    mul.wide.u32 %rd1, %r2, 4; add.s64 %rd2, %rd0, %rd1; st.global.u32 [%rd2], %r11;
    st.global.u32 [%rd2+384], %r13; ret;)");
  Device device;
  ASSERT_TRUE(device.load(text));
  const std::uint64_t d = device.allocate(96 * 8);
  const Fault fault = device.run("k", {}, {96, 1, 1}, Arguments(d));
  ASSERT_EQ(fault.cuda_error, 0) << fault.text();
  const auto values = device.download<std::uint32_t>(d, 192);
  for (std::uint32_t i = 0; i < 96; ++i) {
    EXPECT_EQ(values[i], 5 * (95 - i) + 10) << i;
    EXPECT_GE(values[96 + i], 1U);
    EXPECT_LE(values[96 + i], 96U);
  }
}

TEST(PtxVideo, PartsAreComputedSaturatedAndMerged) {
  struct Case {
    std::string_view text;
    std::uint32_t expected;
  };
  // %r1 = 0x80ff7f01, %r2 = 0x01020304, %r3 = 0x11223344
  constexpr Case kCases[] = {
      {"vadd.s32.s32.s32 %r0, %r1.b2, %r2.b0", 3},
      {"vadd.u32.u32.u32 %r0, %r1.b2, %r2.b0", 259},
      {"vadd.u32.u32.u32.sat %r0.b1, %r1.b2, %r2.b0, %r3", 0x1122ff44},
      {"vsub.s32.u32.u32.add %r0, %r2.b0, %r2.b1, %r3", 0x11223345},
      {"vabsdiff.u32.u32.u32 %r0, %r2.h0, %r2.h1", 0x202},
      {"vmax.s32.s32.s32.max %r0, %r1.b3, %r1.b0, %r3", 0x11223344},
      {"vshr.s32.s32.u32.clamp %r0, %r1, %r2.b0", 0xf80ff7f0},
      {"vmad.s32.s32.s32.shr7 %r0, %r1.h0, %r2.h0, %r3", 0x254264},
      {"vset.u32.u32.ge %r0, %r1, %r2", 1},
      {"vadd4.u32.u32.u32.sat %r0, %r1, %r2, %r3", 0x81ff8205},
      {"vavrg2.u32.u32.u32 %r0, %r1, %r2, %r3", 0x41014103},
      {"vabsdiff4.u32.u32.u32.add %r0, %r1, %r2, %r3", 0x1122353f},
      {"lop3.and.b32 %r0|%p1, %r1, %r2, %r3, 0x80, %p0; selp.u32 %r0, 1, 0, %p1", 0},
      {"lop3.or.b32 _|%p1, %r1, %r2, %r3, 0xfe, %p0; selp.u32 %r0, 1, 0, %p1", 1},
  };
  for (const Case& one : kCases) {
    Device device;
    ASSERT_TRUE(device.load(kernel_text("k", ".param .u64 d", R"(
      ld.param.u64 %rd0, [d]; mov.u32 %r1, 0x80ff7f01; mov.u32 %r2, 0x01020304;
      mov.u32 %r3, 0x11223344; setp.eq.u32 %p0, %r1, %r2;)" + std::string(one.text) +
      "; st.global.u32 [%rd0], %r0; ret;"))) << one.text;
    const std::uint64_t d = device.allocate(4);
    const Fault fault = device.run("k", {}, {1, 1, 1}, Arguments(d));
    ASSERT_EQ(fault.cuda_error, 0) << fault.text();
    EXPECT_EQ(device.download<std::uint32_t>(d, 1)[0], one.expected) << one.text;
  }
}

}  // namespace
}  // namespace phos::sim::ptx::test
