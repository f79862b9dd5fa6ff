/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that write device memory all the time, for dumps that save it meanwhile. Every step
 * alters a word of each page of two buffers, the second one through an address that lies in device
 * memory where HOW is `hidden` (nothing in the launch tells that it is written), else through the
 * kernel's parameter. The program keeps what must be there, and compares every byte at each step.
 *
 *   writer MIB plain|hidden PAUSE_US STOP_FILE
 *
 * MIB is of each buffer; a third is never written again. It goes on until STOP_FILE exists. stdout:
 * one line "step N" for each step, then "whole". stderr: what went wrong. */
#include "gpu.h"

#include <string.h>

enum { block = 128, stride_words = 1024 };

/* The rest of a kernel, with the buffer's address in %rd1. */
#define STIR \
  "  ld.param.u32 %r1, [pages];\n  ld.param.u32 %r2, [step];\n" \
  "  mov.u32 %r3, %ctaid.x;\n  mov.u32 %r4, %ntid.x;\n  mov.u32 %r5, %tid.x;\n" \
  "  mad.lo.u32 %r5, %r3, %r4, %r5;\n" \
  "  setp.ge.u32 %p, %r5, %r1;\n  @%p bra DONE;\n" \
  "  mul.wide.u32 %rd2, %r5, 4096;\n  add.u64 %rd1, %rd1, %rd2;\n" \
  "  ld.global.u32 %r6, [%rd1];\n  add.u32 %r5, %r5, %r2;\n" \
  "  mad.lo.u32 %r6, %r6, 5, %r5;\n  st.global.u32 [%rd1], %r6;\n" \
  "DONE:\n  ret;\n}\n"

/* to[page * 1024] = to[page * 1024] * 5 + step + page */
static const char kernels[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry stir(.param .u64 to, .param .u32 pages, .param .u32 step)\n"
    "{\n"
    "  .reg .pred %p;\n  .reg .b32 %r<8>;\n  .reg .b64 %rd<4>;\n"
    "  ld.param.u64 %rd1, [to];\n"
    STIR
    ".visible .entry stir_through(.param .u64 table, .param .u32 pages, .param .u32 step)\n"
    "{\n"
    "  .reg .pred %p;\n  .reg .b32 %r<8>;\n  .reg .b64 %rd<4>;\n"
    "  ld.param.u64 %rd1, [table];\n  ld.global.u64 %rd1, [%rd1];\n"
    STIR;

enum { buffers = 3 };

typedef struct {
  CUdeviceptr at[buffers];
  uint32_t *wanted[buffers];
  uint32_t *found;
  size_t bytes;
  CUdeviceptr table;
  CUfunction stir;
  CUfunction stir_through;
} state;

static void launch(CUfunction kernel, CUdeviceptr where, uint32_t pages, uint32_t step) {
  void *parameters[] = {&where, &pages, &step};
  CHECK(cuLaunchKernel(kernel, (pages + block - 1) / block, 1, 1, block, 1, 1, 0, NULL, parameters,
                       NULL));
}

static void stir_host(uint32_t *words, uint32_t pages, uint32_t step) {
  for (uint32_t page = 0; page < pages; ++page) {
    uint32_t *word = &words[(size_t)page * stride_words];
    *word = *word * 5 + step + page;
  }
}

static void judge(const state *s, uint32_t step) {
  for (int i = 0; i < buffers; ++i) {
    CHECK(cuMemcpyDtoH(s->found, s->at[i], s->bytes));
    if (memcmp(s->found, s->wanted[i], s->bytes) == 0) continue;
    size_t word = 0;
    while (s->found[word] == s->wanted[i][word]) ++word;
    fprintf(stderr, "step %u: buffer %d differs at byte %zu\n", step, i, word * 4);
    exit(1);
  }
}

static void prepare(state *s) {
  CUmodule module = NULL;
  CHECK(cuModuleLoadData(&module, kernels));
  CHECK(cuModuleGetFunction(&s->stir, module, "stir"));
  CHECK(cuModuleGetFunction(&s->stir_through, module, "stir_through"));
  CHECK(cuMemAlloc(&s->table, sizeof s->at[1]));
  s->found = malloc(s->bytes);
  for (int i = 0; i < buffers; ++i) {
    s->wanted[i] = malloc(s->bytes);
    if (s->wanted[i] == NULL || s->found == NULL) exit(2);
    for (size_t word = 0; word < s->bytes / 4; ++word) {
      s->wanted[i][word] = (uint32_t)word * 2654435761U ^ (uint32_t)i;
    }
    CHECK(cuMemAlloc(&s->at[i], s->bytes));
    CHECK(cuMemcpyHtoD(s->at[i], s->wanted[i], s->bytes));
  }
  CHECK(cuMemcpyHtoD(s->table, &s->at[1], sizeof s->at[1]));
}

int main(int argc, char **argv) {
  const int hidden = argc == 5 && strcmp(argv[2], "hidden") == 0;
  if (argc != 5 || (!hidden && strcmp(argv[2], "plain") != 0)) {
    fprintf(stderr, "usage: writer MIB plain|hidden PAUSE_US STOP_FILE\n");
    return 2;
  }
  state s = {.bytes = (size_t)strtoul(argv[1], NULL, 10) << 20};
  const useconds_t pause = (useconds_t)strtoul(argv[3], NULL, 10);
  const uint32_t pages = (uint32_t)(s.bytes / 4 / stride_words);
  CUdevice device = 0;
  CUcontext context = NULL;
  CHECK(cuInit(0));
  CHECK(cuDeviceGet(&device, 0));
  CHECK(cuDevicePrimaryCtxRetain(&context, device));
  CHECK(cuCtxSetCurrent(context));
  prepare(&s);
  for (uint32_t step = 1; access(argv[4], F_OK) != 0; ++step) {
    launch(s.stir, s.at[0], pages, step);
    launch(hidden ? s.stir_through : s.stir, hidden ? s.table : s.at[1], pages, step);
    stir_host(s.wanted[0], pages, step);
    stir_host(s.wanted[1], pages, step);
    judge(&s, step);
    printf("step %u\n", step);
    fflush(stdout);
    usleep(pause);
  }
  printf("whole\n");
  return 0;
}
