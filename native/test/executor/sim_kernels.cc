// SPDX-License-Identifier: Apache-2.0
// Kernels of the engine's tests. All of them read before they write (x = 3 x + k), so that running
// one twice, or not at all, shows.
#include "sim_client.h"

namespace phos::test {

const char* const kKernels = R"(
.version 7.8
.target sm_80
.address_size 64

.visible .global .align 8 .u64 target = 0;
.visible .global .align 4 .u32 counter = 5;

// p[i] = 3 p[i] + k, i < n
.visible .entry change(.param .u64 p, .param .u32 n, .param .u32 k)
{
  .reg .pred %p;
  .reg .b32 %r<8>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [p];
  ld.param.u32 %r1, [n];
  ld.param.u32 %r2, [k];
  mov.u32 %r3, %ctaid.x;
  mov.u32 %r4, %ntid.x;
  mov.u32 %r5, %tid.x;
  mad.lo.s32 %r6, %r3, %r4, %r5;
  setp.ge.u32 %p, %r6, %r1;
  @%p bra DONE;
  mul.wide.u32 %rd2, %r6, 4;
  add.s64 %rd3, %rd1, %rd2;
  ld.global.u32 %r7, [%rd3];
  mad.lo.u32 %r7, %r7, 3, %r2;
  st.global.u32 [%rd3], %r7;
DONE:
  ret;
}

// q = table[i]; *q = 3 *q + k: the addresses that are written lie in device memory
.visible .entry through_table(.param .u64 table, .param .u32 n, .param .u32 k)
{
  .reg .pred %p;
  .reg .b32 %r<4>;
  .reg .b64 %rd<5>;
  ld.param.u64 %rd1, [table];
  ld.param.u32 %r1, [n];
  ld.param.u32 %r2, [k];
  mov.u32 %r3, %tid.x;
  setp.ge.u32 %p, %r3, %r1;
  @%p bra DONE;
  mul.wide.u32 %rd2, %r3, 8;
  add.s64 %rd3, %rd1, %rd2;
  ld.global.u64 %rd4, [%rd3];
  ld.global.u32 %r3, [%rd4];
  mad.lo.u32 %r3, %r3, 3, %r2;
  st.global.u32 [%rd4], %r3;
DONE:
  ret;
}

// for (node = head; node; node = node->next) node->value = 3 node->value + k
.visible .entry through_list(.param .u64 head, .param .u32 k)
{
  .reg .pred %p;
  .reg .b32 %r<4>;
  .reg .b64 %rd<3>;
  mov.u32 %r1, %tid.x;
  setp.ne.u32 %p, %r1, 0;
  @%p bra DONE;
  ld.param.u64 %rd1, [head];
  ld.param.u32 %r2, [k];
NEXT:
  setp.eq.u64 %p, %rd1, 0;
  @%p bra DONE;
  ld.global.u32 %r3, [%rd1+8];
  mad.lo.u32 %r3, %r3, 3, %r2;
  st.global.u32 [%rd1+8], %r3;
  ld.global.u64 %rd1, [%rd1];
  bra NEXT;
DONE:
  ret;
}

// target = p
.visible .entry aim(.param .u64 p)
{
  .reg .pred %p;
  .reg .b32 %r<2>;
  .reg .b64 %rd<3>;
  mov.u32 %r1, %tid.x;
  setp.ne.u32 %p, %r1, 0;
  @%p bra DONE;
  ld.param.u64 %rd1, [p];
  mov.u64 %rd2, target;
  st.global.u64 [%rd2], %rd1;
DONE:
  ret;
}

// target[i] = 3 target[i] + k; the last thread also counts
.visible .entry through_global(.param .u32 k)
{
  .reg .pred %p;
  .reg .b32 %r<6>;
  .reg .b64 %rd<5>;
  ld.param.u32 %r1, [k];
  mov.u64 %rd1, target;
  ld.global.u64 %rd2, [%rd1];
  mov.u32 %r2, %tid.x;
  mul.wide.u32 %rd3, %r2, 4;
  add.s64 %rd4, %rd2, %rd3;
  ld.global.u32 %r3, [%rd4];
  mad.lo.u32 %r3, %r3, 3, %r1;
  st.global.u32 [%rd4], %r3;
  mov.u64 %rd1, counter;
  atom.global.add.u32 %r4, [%rd1], %r1;
  ret;
}
)";

}  // namespace phos::test
