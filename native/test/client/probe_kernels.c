/* SPDX-License-Identifier: Apache-2.0 */
/* Modules, launches, capture. */
#include <string.h>

#include "probe.h"

/* fill(out, value, count): out[i] = value + i. add(data, count): data[i] += table[0]. */
static const char kKernels[] =
    ".version 7.8\n"
    ".target sm_80\n"
    ".address_size 64\n"
    ".visible .global .align 4 .u32 table[4] = {5, 6, 7, 8};\n"
    ".visible .entry fill(.param .u64 p0, .param .u32 p1, .param .u32 p2)\n"
    "{\n"
    "  .reg .pred %p<2>;\n"
    "  .reg .b32 %r<8>;\n"
    "  .reg .b64 %rd<5>;\n"
    "  ld.param.u64 %rd1, [p0];\n"
    "  ld.param.u32 %r1, [p1];\n"
    "  ld.param.u32 %r2, [p2];\n"
    "  mov.u32 %r3, %ctaid.x;\n"
    "  mov.u32 %r4, %ntid.x;\n"
    "  mov.u32 %r5, %tid.x;\n"
    "  mad.lo.s32 %r6, %r3, %r4, %r5;\n"
    "  setp.ge.u32 %p1, %r6, %r2;\n"
    "  @%p1 bra DONE;\n"
    "  cvta.to.global.u64 %rd2, %rd1;\n"
    "  mul.wide.u32 %rd3, %r6, 4;\n"
    "  add.s64 %rd4, %rd2, %rd3;\n"
    "  add.s32 %r7, %r1, %r6;\n"
    "  st.global.u32 [%rd4], %r7;\n"
    "DONE:\n"
    "  ret;\n"
    "}\n"
    ".visible .entry add(.param .u64 p0, .param .u32 p1)\n"
    "{\n"
    "  .reg .pred %p<2>;\n"
    "  .reg .b32 %r<9>;\n"
    "  .reg .b64 %rd<5>;\n"
    "  ld.param.u64 %rd1, [p0];\n"
    "  ld.param.u32 %r1, [p1];\n"
    "  mov.u32 %r3, %ctaid.x;\n"
    "  mov.u32 %r4, %ntid.x;\n"
    "  mov.u32 %r5, %tid.x;\n"
    "  mad.lo.s32 %r6, %r3, %r4, %r5;\n"
    "  setp.ge.u32 %p1, %r6, %r1;\n"
    "  @%p1 bra DONE2;\n"
    "  cvta.to.global.u64 %rd2, %rd1;\n"
    "  mul.wide.u32 %rd3, %r6, 4;\n"
    "  add.s64 %rd4, %rd2, %rd3;\n"
    "  ld.global.u32 %r7, [%rd4];\n"
    "  ld.global.u32 %r8, [table];\n"
    "  add.s32 %r7, %r7, %r8;\n"
    "  st.global.u32 [%rd4], %r7;\n"
    "DONE2:\n"
    "  ret;\n"
    "}\n";

enum { kCount = 1000 };

CUmodule load_kernels(void) {
  CUmodule module = NULL;
  OK(cuModuleLoadData(&module, kKernels));
  return module;
}

static CUfunction function_of(CUmodule module, const char *name) {
  CUfunction function = NULL;
  OK(cuModuleGetFunction(&function, module, name));
  return function;
}

static void launch_fill(CUfunction fill, CUstream stream, CUdeviceptr memory, unsigned value) {
  unsigned count = kCount;
  void *arguments[] = {&memory, &value, &count};
  OK(cuLaunchKernel(fill, (kCount + 127) / 128, 1, 1, 128, 1, 1, 0, stream, arguments, NULL));
}

static void launch_add(CUfunction add, CUstream stream, CUdeviceptr memory) {
  unsigned count = kCount;
  void *arguments[] = {&memory, &count};
  OK(cuLaunchKernel(add, (kCount + 127) / 128, 1, 1, 128, 1, 1, 0, stream, arguments, NULL));
}

static void expect_values(CUdeviceptr memory, unsigned first) {
  unsigned values[kCount];
  OK(cuMemcpyDtoH(values, memory, sizeof(values)));
  for (unsigned i = 0; i < kCount; ++i) CHECK(values[i] == first + i);
}

void test_launch(void) {
  begin();
  CUmodule module = load_kernels();
  CUfunction fill = function_of(module, "fill");
  CUfunction again = function_of(module, "fill");
  CUfunction add = function_of(module, "add");
  CUdeviceptr memory = 0;
  CUdeviceptr table = 0;
  size_t bytes = 0;
  CUfunction none = NULL;
  CHECK(fill == again && fill != add);
  EXPECT(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&none, module, "not there"));
  OK(cuMemAlloc(&memory, kCount * 4));
  launch_fill(fill, NULL, memory, 100);
  expect_values(memory, 100);
  launch_add(add, NULL, memory);
  expect_values(memory, 105);
  OK(cuModuleGetGlobal(&table, &bytes, module, "table"));
  CHECK(bytes == 16);
  const unsigned seven = 7;
  OK(cuMemcpyHtoD(table, &seven, 4));
  launch_add(add, NULL, memory);
  expect_values(memory, 112);
  struct {
    CUdeviceptr memory;
    unsigned value;
    unsigned count;
  } packed = {memory, 3, kCount};
  size_t size = sizeof(packed);
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                   CU_LAUNCH_PARAM_END};
  OK(cuLaunchKernel(fill, 8, 1, 1, 128, 1, 1, 0, NULL, NULL, extra));
  expect_values(memory, 3);
  int value = 0;
  OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, fill));
  CHECK(value >= 128);
  int blocks = 0;
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, fill, 128, 0));
  CHECK(blocks > 0);
  for (unsigned i = 0; i < 2000; ++i) launch_fill(fill, NULL, memory, i);
  expect_values(memory, 1999);
  OK(cuModuleUnload(module));
  EXPECT(CUDA_ERROR_INVALID_HANDLE,
         cuLaunchKernel(fill, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
  CUlibrary library = NULL;
  CUkernel kernel = NULL;
  CUfunction from_kernel = NULL;
  // As cuBLAS does it: an option that has no value, and no values.
  CUlibraryOption preserved = CU_LIBRARY_BINARY_IS_PRESERVED;
  OK(cuLibraryLoadData(&library, kKernels, NULL, NULL, 0, &preserved, NULL, 1));
  OK(cuLibraryGetKernel(&kernel, library, "fill"));
  OK(cuKernelGetFunction(&from_kernel, kernel));
  launch_fill((CUfunction)kernel, NULL, memory, 41);
  expect_values(memory, 41);
  launch_fill(from_kernel, NULL, memory, 42);
  expect_values(memory, 42);
  OK(cuLibraryUnload(library));
}

void test_launch_errors(void) {
  begin();
  CUmodule module = load_kernels();
  CUfunction fill = function_of(module, "fill");
  CUdeviceptr memory = 0;
  unsigned value = 1;
  unsigned count = kCount;
  void *arguments[] = {&memory, &value, &count};
  OK(cuMemAlloc(&memory, kCount * 4));
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuLaunchKernel(fill, 1, 1, 1, 2048, 1, 1, 0, NULL, arguments, NULL));
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuLaunchKernel(fill, 0, 1, 1, 128, 1, 1, 0, NULL, arguments, NULL));
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuLaunchKernel(fill, 1, 70000, 1, 128, 1, 1, 0, NULL, arguments, NULL));
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuLaunchKernel(fill, 1, 1, 1, 1024, 2, 1, 0, NULL, arguments, NULL));
  EXPECT(CUDA_ERROR_INVALID_VALUE,
         cuLaunchKernel(fill, 1, 1, 1, 128, 1, 1, 1 << 20, NULL, arguments, NULL));
  EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernel(fill, 1, 1, 1, 128, 1, 1, 0, NULL, NULL, NULL));
  EXPECT(CUDA_ERROR_INVALID_HANDLE,
         cuLaunchKernel(NULL, 1, 1, 1, 128, 1, 1, 0, NULL, arguments, NULL));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuLaunchKernel(fill, 1, 1, 1, 128, 1, 1, 0,
                                                   (CUstream)(size_t)0x5555, arguments, NULL));
  EXPECT(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
         cuLaunchCooperativeKernel(fill, 100000, 1, 1, 128, 1, 1, 0, NULL, arguments));
  OK(cuLaunchCooperativeKernel(fill, 8, 1, 1, 128, 1, 1, 0, NULL, arguments));
  expect_values(memory, 1);
}

void test_capture(void) {
  begin();
  CUmodule module = load_kernels();
  CUfunction fill = function_of(module, "fill");
  CUfunction add = function_of(module, "add");
  CUstream stream = NULL;
  CUstream side = NULL;
  CUevent fork = NULL;
  CUevent join = NULL;
  CUdeviceptr memory = 0;
  CUdeviceptr other = 0;
  CUgraph graph = NULL;
  CUgraphExec exec = NULL;
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
  OK(cuMemAlloc(&memory, kCount * 4));
  OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  OK(cuStreamCreate(&side, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
  OK(cuEventCreate(&join, CU_EVENT_DISABLE_TIMING));
  launch_fill(fill, stream, memory, 10);
  OK(cuStreamIsCapturing(stream, &status));
  CHECK(status == CU_STREAM_CAPTURE_STATUS_NONE);
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
         cuStreamBeginCapture(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EXPECT(CUDA_ERROR_ILLEGAL_STATE, cuStreamEndCapture(stream, &graph));
  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EXPECT(CUDA_ERROR_ILLEGAL_STATE, cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  launch_add(add, stream, memory);
  OK(cuEventRecord(fork, stream));
  OK(cuStreamWaitEvent(side, fork, 0));
  OK(cuStreamIsCapturing(side, &status));
  CHECK(status == CU_STREAM_CAPTURE_STATUS_ACTIVE);
  launch_add(add, side, memory);
  OK(cuEventRecord(join, side));
  OK(cuStreamWaitEvent(stream, join, 0));
  OK(cuStreamEndCapture(stream, &graph));
  CHECK(graph != NULL);
  expect_values(memory, 10);
  size_t nodes = 0;
  OK(cuGraphGetNodes(graph, NULL, &nodes));
  CHECK(nodes == 2);
  OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  for (int i = 0; i < 5; ++i) OK(cuGraphLaunch(exec, stream));
  OK(cuStreamSynchronize(stream));
  expect_values(memory, 10 + 5 * 10);
  // An executable graph needs the graph it was made from no longer.
  OK(cuGraphDestroy(graph));
  EXPECT(CUDA_ERROR_INVALID_HANDLE, cuGraphDestroy(graph));
  OK(cuGraphLaunch(exec, stream));
  OK(cuStreamSynchronize(stream));
  expect_values(memory, 10 + 6 * 10);
  OK(cuGraphExecDestroy(exec));

  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuMemAlloc(&other, 64));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
  CHECK(graph == NULL);
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  OK(cuThreadExchangeStreamCaptureMode(&mode));
  OK(cuMemAlloc(&other, 64));
  OK(cuThreadExchangeStreamCaptureMode(&mode));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamSynchronize(stream));
  EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
  launch_fill(fill, stream, memory, 77);
  OK(cuStreamSynchronize(stream));
  expect_values(memory, 77);
}
