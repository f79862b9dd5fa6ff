// SPDX-License-Identifier: Apache-2.0
// Lanes that diverge, wait for each other, and come together again.
#include "support.h"

namespace phos::sim::ptx::test {
namespace {

// d[tid] of a kernel with one pointer parameter, for one block.
std::vector<std::uint32_t> run_block(std::string_view body, std::uint32_t threads,
                                     std::size_t words) {
  Device device;
  const std::string text = kernel_text("k", ".param .u64 out", std::string(R"(
    ld.param.u64 %rd0, [out];
    mov.u32 %r0, %tid.x;
    mul.wide.u32 %rd1, %r0, 4;
    add.s64 %rd2, %rd0, %rd1;
  )") + std::string(body));
  if (!device.load(text)) {
    return {};
  }
  const std::uint64_t out = device.allocate(words * 4);
  const Fault fault = device.run("k", {1, 1, 1}, {threads, 1, 1}, Arguments(out));
  EXPECT_EQ(fault.cuda_error, 0) << fault.text();
  return device.download<std::uint32_t>(out, words);
}

TEST(PtxWarp, LanesOfAnIfComeTogetherAgain) {
  const auto out = run_block(R"(
    and.b32 %r1, %r0, 3;
    setp.eq.u32 %p1, %r1, 0;
    mov.u32 %r2, 10;
    @%p1 bra THEN;
    add.u32 %r2, %r2, %r0;
    bra JOIN;
  THEN:
    mul.lo.u32 %r2, %r2, 7;
  JOIN:
    activemask.b32 %r3;
    setp.eq.u32 %p2, %r3, -1;
    selp.u32 %r4, 1000, 0, %p2;
    add.u32 %r2, %r2, %r4;
    st.global.u32 [%rd2], %r2;
    ret;
  )", 32, 32);
  for (std::uint32_t i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i], (i % 4 == 0 ? 70 : 10 + i) + 1000) << i;
  }
}

TEST(PtxWarp, LoopsOfDifferentLengthReconverge) {
  const auto out = run_block(R"(
    mov.u32 %r1, 0;
    mov.u32 %r2, 0;
  LOOP:
    add.u32 %r2, %r2, %r1;
    add.u32 %r1, %r1, 1;
    setp.le.u32 %p1, %r1, %r0;
    @%p1 bra LOOP;
    activemask.b32 %r3;
    popc.b32 %r4, %r3;
    mad.lo.u32 %r2, %r4, 1000, %r2;
    st.global.u32 [%rd2], %r2;
    ret;
  )", 32, 32);
  for (std::uint32_t i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i], i * (i + 1) / 2 + 32000) << i;
  }
}

// Each lane takes a lock that another lane of the same warp may hold. Under lockstep rules this
// never ends; threads since Volta make progress by themselves.
TEST(PtxWarp, SpinLockPerLaneFinishes) {
  const auto out = run_block(R"(
    mov.u32 %r1, 0;
  TRY:
    atom.global.cas.b32 %r2, [%rd0], 0, 1;
    setp.ne.u32 %p1, %r2, 0;
    @%p1 bra TRY;
    ld.volatile.global.u32 %r3, [%rd0+4];
    add.u32 %r3, %r3, %r0;
    st.volatile.global.u32 [%rd0+4], %r3;
    membar.gl;
    atom.global.exch.b32 %r4, [%rd0], 0;
    ret;
  )", 96, 2);
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(out[0], 0U);
  EXPECT_EQ(out[1], 95U * 96 / 2);
}

// The same with the loop turned around, as newer compilers write it: the lane that holds the lock
// leaves the loop forwards and releases it behind lanes that still try.
TEST(PtxWarp, SpinLockWithReleaseInsideTheLoopFinishes) {
  const auto out = run_block(R"(
  TRY:
    atom.global.cas.b32 %r2, [%rd0], 0, 1;
    setp.eq.u32 %p1, %r2, 0;
    @!%p1 bra NEXT;
    ld.global.u32 %r3, [%rd0+4];
    add.u32 %r3, %r3, 1;
    st.global.u32 [%rd0+4], %r3;
    atom.global.exch.b32 %r4, [%rd0], 0;
  NEXT:
    @!%p1 bra TRY;
    ret;
  )", 64, 2);
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(out[1], 64U);
}

TEST(PtxWarp, ShuffleWaitsForLanesOfBothSidesOfABranch) {
  const auto out = run_block(R"(
    setp.lt.u32 %p1, %r0, 16;
    mul.lo.u32 %r1, %r0, 10;
    @%p1 bra LOW;
    shfl.sync.bfly.b32 %r2, %r1, 16, 31, -1;
    bra JOIN;
  LOW:
    shfl.sync.bfly.b32 %r2, %r1, 16, 31, -1;
  JOIN:
    st.global.u32 [%rd2], %r2;
    ret;
  )", 32, 32);
  for (std::uint32_t i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i], (i ^ 16) * 10) << i;
  }
}

TEST(PtxWarp, VotesAcrossABranchSeeAllMembers) {
  const auto out = run_block(R"(
    setp.lt.u32 %p1, %r0, 8;
    and.b32 %r1, %r0, 1;
    setp.eq.u32 %p2, %r1, 1;
    @%p1 bra LOW;
    vote.sync.ballot.b32 %r2, %p2, -1;
    bra JOIN;
  LOW:
    vote.sync.ballot.b32 %r2, !%p2, -1;
  JOIN:
    st.global.u32 [%rd2], %r2;
    ret;
  )", 32, 32);
  for (std::uint32_t i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i], 0xaaaaaa55U) << i;
  }
}

TEST(PtxWarp, GroupsWithMasksOfTheirOwnDoNotMix) {
  const auto out = run_block(R"(
    and.b32 %r1, %r0, 1;
    setp.eq.u32 %p1, %r1, 0;
    selp.b32 %r2, 0x55555555, 0xaaaaaaaa, %p1;
    redux.sync.add.u32 %r3, %r0, %r2;
    st.global.u32 [%rd2], %r3;
    ret;
  )", 32, 32);
  for (std::uint32_t i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i], i % 2 == 0 ? 240U : 256U) << i;
  }
}

TEST(PtxWarp, ExitedLanesAreNotWaitedFor) {
  const auto out = run_block(R"(
    setp.ge.u32 %p1, %r0, 20;
    @%p1 ret;
    vote.sync.ballot.b32 %r2, 1, -1;
    st.global.u32 [%rd2], %r2;
    ret;
  )", 32, 32);
  for (std::uint32_t i = 0; i < 20; ++i) {
    EXPECT_EQ(out[i], 0xfffffU) << i;
  }
}

TEST(PtxWarp, BarrierReductionsCountThreads) {
  const auto out = run_block(R"(
    and.b32 %r1, %r0, 1;
    setp.eq.u32 %p1, %r1, 1;
    barrier.red.popc.aligned.u32 %r2, 0, %p1;
    bar.red.or.pred %p2, 0, %p1;
    bar.red.and.pred %p3, 0, !%p1;
    selp.u32 %r3, 1000, 0, %p2;
    selp.u32 %r4, 10000, 0, %p3;
    add.u32 %r2, %r2, %r3;
    add.u32 %r2, %r2, %r4;
    st.global.u32 [%rd2], %r2;
    ret;
  )", 100, 100);
  for (const std::uint32_t value : out) {
    EXPECT_EQ(value, 1050U);
  }
}

// One warp produces, another consumes, each waiting at a barrier of two warps.
TEST(PtxWarp, NamedBarriersWithArrive) {
  const auto out = run_block(R"(
    .shared .align 4 .u32 box[32];
    setp.lt.u32 %p1, %r0, 32;
    and.b32 %r1, %r0, 31;
    shl.b32 %r2, %r1, 2;
    mov.u32 %r3, box;
    add.u32 %r4, %r3, %r2;
    @%p1 bra PRODUCE;
    bar.sync 1, 64;
    ld.shared.u32 %r5, [%r4];
    st.global.u32 [%rd2], %r5;
    ret;
  PRODUCE:
    mul.lo.u32 %r6, %r0, 3;
    st.shared.u32 [%r4], %r6;
    bar.arrive 1, 64;
    st.global.u32 [%rd2], 7;
    ret;
  )", 64, 64);
  for (std::uint32_t i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i], 7U);
    EXPECT_EQ(out[32 + i], i * 3);
  }
}

TEST(PtxWarp, BarrierThatCannotOpenIsReported) {
  Device device;
  ASSERT_TRUE(device.load(kernel_text("k", "", R"(
    mov.u32 %r0, %tid.x;
    setp.lt.u32 %p1, %r0, 32;
    @%p1 bra FIRST;
    bar.sync 1, 96;
    ret;
  FIRST:
    bar.sync 2, 96;
    ret;
  )")));
  const Fault fault = device.run("k", {1, 1, 1}, {64, 1, 1}, Arguments());
  EXPECT_EQ(fault.cuda_error, 719);
  EXPECT_EQ(fault.opcode, "bar.sync");
}

TEST(PtxWarp, WarpsThatWaitForEachOtherTakeTurns) {
  const auto out = run_block(R"(
    setp.ge.u32 %p1, %r0, 32;
    @%p1 bra SECOND;
  WAIT:
    ld.volatile.global.u32 %r1, [%rd0+256];
    setp.eq.u32 %p2, %r1, 0;
    @%p2 bra WAIT;
    st.global.u32 [%rd2], %r1;
    ret;
  SECOND:
    st.volatile.global.u32 [%rd0+256], 5;
    ret;
  )", 64, 65);
  for (std::uint32_t i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i], 5U);
  }
}

}  // namespace
}  // namespace phos::sim::ptx::test
