// SPDX-License-Identifier: Apache-2.0
// PTX of the kernels that the tests launch, written by hand and small.
#pragma once

namespace phos::sim::test {

inline constexpr const char* kKernels = R"(
.version 7.8
.target sm_80
.address_size 64

.visible .global .align 4 .u32 counter = 5;
.visible .const .align 4 .u32 factor = 3;
.global .align 8 .u64 pointer_to_counter = generic(counter);

// out[i] = in[i] * factor + i
.visible .entry scale(.param .u64 out, .param .u64 in, .param .u32 n)
{
  .reg .pred %p;
  .reg .b32 %r<8>;
  .reg .b64 %rd<8>;
  ld.param.u64 %rd1, [out];
  ld.param.u64 %rd2, [in];
  ld.param.u32 %r1, [n];
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mov.u32 %r4, %tid.x;
  mad.lo.s32 %r5, %r2, %r3, %r4;
  setp.ge.u32 %p, %r5, %r1;
  @%p bra DONE;
  ld.const.u32 %r6, [factor];
  mul.wide.u32 %rd3, %r5, 4;
  add.s64 %rd4, %rd2, %rd3;
  ld.global.u32 %r7, [%rd4];
  mad.lo.u32 %r7, %r7, %r6, %r5;
  add.s64 %rd5, %rd1, %rd3;
  st.global.u32 [%rd5], %r7;
DONE:
  ret;
}

// counter += 1, once a thread
.visible .entry count()
{
  .reg .b32 %r<3>;
  .reg .b64 %rd<2>;
  mov.u64 %rd1, counter;
  atom.global.add.u32 %r1, [%rd1], 1;
  ret;
}

// Spins until *flag != 0, then *flag = 2.
.visible .entry wait_for(.param .u64 flag)
{
  .reg .pred %p;
  .reg .b32 %r<3>;
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [flag];
AGAIN:
  ld.volatile.global.u32 %r1, [%rd1];
  setp.eq.u32 %p, %r1, 0;
  @%p bra AGAIN;
  mov.u32 %r2, 2;
  st.volatile.global.u32 [%rd1], %r2;
  ret;
}

.visible .entry store_to(.param .u64 address)
{
  .reg .b32 %r<2>;
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [address];
  mov.u32 %r1, 77;
  st.global.u32 [%rd1], %r1;
  ret;
}

.visible .entry trapped()
{
  trap;
  ret;
}

.visible .entry bounded()
.maxntid 64, 1, 1
{
  ret;
}

// out[tid] = what the thread before wrote into shared memory
.visible .entry rotate(.param .u64 out)
{
  .reg .b32 %r<8>;
  .reg .b64 %rd<4>;
  .shared .align 4 .b8 fixed[512];
  ld.param.u64 %rd1, [out];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, fixed;
  shl.b32 %r4, %r1, 2;
  add.u32 %r4, %r3, %r4;
  st.shared.u32 [%r4], %r1;
  bar.sync 0;
  add.u32 %r5, %r1, %r2;
  sub.u32 %r5, %r5, 1;
  rem.u32 %r5, %r5, %r2;
  shl.b32 %r5, %r5, 2;
  add.u32 %r5, %r3, %r5;
  ld.shared.u32 %r6, [%r5];
  mul.wide.u32 %rd2, %r1, 4;
  add.s64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r6;
  ret;
}
)";

}  // namespace phos::sim::test
