/* SPDX-License-Identifier: Apache-2.0 */
/* What calls of the driver API cost, seen by a program that knows nothing of phos:
 *   sync   cuStreamQuery on an idle stream: a question that only the device side can answer
 *   async  cuEventRecord on one stream, the final synchronise included
 *   launch cuLaunchKernel of an empty kernel with four parameters: the call alone, in bursts that
 *          leave the queue far from full, each burst waited for outside of the time
 *   local  cuCtxGetCurrent: answered inside the process
 * Prints one JSON object on stdout. */
#define PHOS_CUDA_SOURCE_NAMES
#include <phos/cuda_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
  unsigned long sync_calls, async_calls, launches, local_calls;
  unsigned long settle_ms; /* what the start of the program set off elsewhere has come to rest */
} counts;

enum { burst = 200 };

static const char empty_kernel[] =
    ".version 8.0\n.target sm_80\n.address_size 64\n"
    ".visible .entry nothing(.param .u64 a, .param .u64 b, .param .u32 n, .param .f32 x)\n"
    "{\n  ret;\n}\n";

static void check(CUresult result, const char *what) {
  const char *name = NULL;
  if (result == CUDA_SUCCESS) return;
  cuGetErrorName(result, &name);
  fprintf(stderr, "%s: %s (%d)\n", what, name ? name : "?", (int)result);
  exit(1);
}

#define CHECK(call) check((call), #call)

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  const uint32_t x = *(const uint32_t *)a;
  const uint32_t y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* Every call is timed by itself; the clock's own cost is part of the figure. */
static void measure_sync(CUstream stream, unsigned long calls) {
  uint32_t *samples = malloc(calls * sizeof *samples);
  if (samples == NULL) exit(1);
  for (unsigned long i = 0; i < calls / 10; ++i) CHECK(cuStreamQuery(stream));
  for (unsigned long i = 0; i < calls; ++i) {
    const uint64_t start = now_ns();
    const CUresult result = cuStreamQuery(stream);
    samples[i] = (uint32_t)(now_ns() - start);
    check(result, "cuStreamQuery");
  }
  qsort(samples, calls, sizeof *samples, ascending);
  printf("\"sync_p50_ns\":%u,\"sync_p99_ns\":%u,", samples[calls / 2],
         samples[calls - 1 - calls / 100]);
  free(samples);
}

static void measure_async(CUstream stream, unsigned long calls) {
  CUevent event;
  CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
  for (unsigned long i = 0; i < calls / 100; ++i) CHECK(cuEventRecord(event, stream));
  CHECK(cuStreamSynchronize(stream));
  const uint64_t start = now_ns();
  for (unsigned long i = 0; i < calls; ++i) CHECK(cuEventRecord(event, stream));
  CHECK(cuStreamSynchronize(stream));
  const double seconds = (double)(now_ns() - start) * 1e-9;
  printf("\"async_calls_per_s\":%.0f,", (double)calls / seconds);
  CHECK(cuEventDestroy(event));
}

static void measure_launch(CUstream stream, unsigned long launches) {
  const unsigned long bursts = (launches + burst - 1) / burst;
  uint32_t *samples = malloc(bursts * sizeof *samples);
  CUmodule module;
  CUfunction function;
  uint64_t a = 1, b = 2;
  uint32_t n = 3;
  float x = 4;
  void *arguments[] = {&a, &b, &n, &x};
  if (samples == NULL) exit(1);
  CHECK(cuModuleLoadData(&module, empty_kernel));
  CHECK(cuModuleGetFunction(&function, module, "nothing"));
  for (unsigned long i = 0; i < bursts; ++i) {
    const uint64_t start = now_ns();
    for (int k = 0; k < burst; ++k) {
      CHECK(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, stream, arguments, NULL));
    }
    samples[i] = (uint32_t)(now_ns() - start);
    CHECK(cuStreamSynchronize(stream));
  }
  qsort(samples, bursts, sizeof *samples, ascending);
  printf("\"launch_issue_ns\":%.1f,", (double)samples[bursts / 2] / burst);
  CHECK(cuModuleUnload(module));
  free(samples);
}

static void measure_local(CUcontext expected, unsigned long calls) {
  CUcontext context = NULL;
  const uint64_t start = now_ns();
  for (unsigned long i = 0; i < calls; ++i) CHECK(cuCtxGetCurrent(&context));
  const double ns = (double)(now_ns() - start) / (double)calls;
  if (context != expected) exit(1);
  printf("\"local_call_ns\":%.3f", ns);
}

static counts parse(int argc, char **argv) {
  counts c = {200000, 10000000, 200000, 50000000, 0};
  for (int i = 1; i + 1 < argc; i += 2) {
    const unsigned long value = strtoul(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--sync") == 0 && value >= 100) c.sync_calls = value;
    if (strcmp(argv[i], "--async") == 0 && value >= 100) c.async_calls = value;
    if (strcmp(argv[i], "--launch") == 0 && value >= 100) c.launches = value;
    if (strcmp(argv[i], "--settle-ms") == 0) c.settle_ms = value;
    if (strcmp(argv[i], "--local") == 0 && value >= 100) c.local_calls = value;
  }
  return c;
}

int main(int argc, char **argv) {
  const uint64_t start = now_ns();
  const counts c = parse(argc, argv);
  CUdevice device;
  CUcontext context;
  CUstream stream;
  CHECK(cuInit(0));
  CHECK(cuDeviceGet(&device, 0));
  CHECK(cuDevicePrimaryCtxRetain(&context, device));
  CHECK(cuCtxSetCurrent(context));
  CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  printf("{\"startup_ms\":%.3f,", (double)(now_ns() - start) * 1e-6);
  const struct timespec settle = {(time_t)(c.settle_ms / 1000),
                                  (long)(c.settle_ms % 1000) * 1000000};
  nanosleep(&settle, NULL);
  measure_sync(stream, c.sync_calls);
  measure_async(stream, c.async_calls);
  measure_launch(stream, c.launches);
  measure_local(context, c.local_calls);
  printf("}\n");
  CHECK(cuStreamDestroy(stream));
  CHECK(cuDevicePrimaryCtxRelease(device));
  return 0;
}
