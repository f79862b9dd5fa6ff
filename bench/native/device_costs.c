/* SPDX-License-Identifier: Apache-2.0 */
/* What launches and copies cost a program over the driver API that knows nothing of phos:
 *
 *   device_costs [MIB [BATCHES]]
 *
 *   startup    from main() to the end of the first kernel
 *   issue      cuLaunchKernel of an empty kernel, until it returns, with room in the queue
 *   drained    the same, with the wait for all of them shared out among them
 *   launch+sync  one launch and cuStreamSynchronize, median
 *   read       4 bytes from the device to pageable memory, median
 *   copies     MIB MiB from and to pinned and pageable memory (touched before), GB/s, best of three
 *
 * Prints one JSON object on stdout. Copies are judged: a wrong byte ends the program with 1. */
#define PHOS_CUDA_SOURCE_NAMES
#include <phos/cuda_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { batch = 500, max_batches = 1000, waits = 2000, copies = 3 };

static const char ptx[] =
    ".version 6.5\n.target sm_75\n.address_size 64\n.visible .entry nothing() { ret; }\n";

static void check(CUresult result, const char *what) {
  const char *name = NULL;
  if (result == CUDA_SUCCESS) return;
  cuGetErrorName(result, &name);
  fprintf(stderr, "%s: %s (%d)\n", what, name ? name : "?", (int)result);
  exit(1);
}

#define CHECK(call) check((call), #call)

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a;
  const double y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, size_t count) {
  qsort(values, count, sizeof *values, ascending);
  return values[count / 2];
}

static void launch(CUfunction function, CUstream stream) {
  CHECK(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, stream, NULL, NULL));
}

static void measure_launches(CUfunction function, CUstream stream, size_t batches) {
  static double issue[max_batches], drained[max_batches], pairs[waits];
  for (size_t i = 0; i < batches; ++i) {
    const double start = now_ns();
    for (int j = 0; j < batch; ++j) launch(function, stream);
    issue[i] = (now_ns() - start) / batch;
    CHECK(cuStreamSynchronize(stream));
    drained[i] = (now_ns() - start) / batch;
  }
  for (int i = 0; i < waits; ++i) {
    const double start = now_ns();
    launch(function, stream);
    CHECK(cuStreamSynchronize(stream));
    pairs[i] = now_ns() - start;
  }
  printf("\"issue_ns\":%.1f,\"drained_ns\":%.1f,\"launch_sync_ns\":%.1f,", median(issue, batches),
         median(drained, batches), median(pairs, waits));
}

static void measure_reads(CUdeviceptr device) {
  static double reads[waits];
  uint32_t word = 0;
  for (int i = 0; i < waits; ++i) {
    const double start = now_ns();
    CHECK(cuMemcpyDtoH(&word, device, sizeof word));
    reads[i] = now_ns() - start;
  }
  printf("\"read_ns\":%.1f,", median(reads, waits));
}

static void pattern(uint64_t *host, size_t bytes, uint64_t seed) {
  for (size_t i = 0; i < bytes / 8; ++i) host[i] = (i + seed) * 0x9e3779b97f4a7c15ULL;
}

/* Best of a few: the first touches pages and wakes threads. */
static void measure_copies(const char *kind, uint64_t *host, CUdeviceptr device, size_t bytes,
                           const char *end) {
  double to = 0;
  double from = 0;
  for (int i = 0; i < copies; ++i) {
    pattern(host, bytes, (uint64_t)i);
    double start = now_ns();
    CHECK(cuMemcpyHtoD(device, host, bytes));
    CHECK(cuCtxSynchronize());
    const double there = (double)bytes / (now_ns() - start);
    memset(host, 0, bytes);
    start = now_ns();
    CHECK(cuMemcpyDtoH(host, device, bytes));
    const double back = (double)bytes / (now_ns() - start);
    if (there > to) to = there;
    if (back > from) from = back;
    for (size_t j = 0; j < bytes / 8; j += 61) {
      if (host[j] == (j + (uint64_t)i) * 0x9e3779b97f4a7c15ULL) continue;
      fprintf(stderr, "%s memory: word %zu came back wrong\n", kind, j);
      exit(1);
    }
  }
  printf("\"h2d_%s_gbs\":%.3f,\"d2h_%s_gbs\":%.3f%s", kind, to, kind, from, end);
}

int main(int argc, char **argv) {
  const double start = now_ns();
  const size_t bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 1024) << 20;
  size_t batches = argc > 2 ? strtoul(argv[2], NULL, 10) : 100;
  CUdevice device;
  CUcontext context;
  CUmodule module;
  CUfunction function;
  CUstream stream;
  CUdeviceptr memory = 0;
  void *pinned = NULL;
  if (bytes == 0 || batches == 0) return 2;
  if (batches > max_batches) batches = max_batches;
  CHECK(cuInit(0));
  CHECK(cuDeviceGet(&device, 0));
  CHECK(cuDevicePrimaryCtxRetain(&context, device));
  CHECK(cuCtxSetCurrent(context));
  CHECK(cuModuleLoadData(&module, ptx));
  CHECK(cuModuleGetFunction(&function, module, "nothing"));
  CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  launch(function, stream);
  CHECK(cuStreamSynchronize(stream));
  printf("{\"startup_ms\":%.3f,", (now_ns() - start) * 1e-6);
  CHECK(cuMemAlloc(&memory, bytes));
  measure_launches(function, stream, batches);
  measure_reads(memory);
  CHECK(cuMemHostAlloc(&pinned, bytes, 0));
  measure_copies("pinned", pinned, memory, bytes, ",");
  CHECK(cuMemFreeHost(pinned));
  void *pageable = malloc(bytes);
  if (pageable == NULL) return 1;
  measure_copies("pageable", pageable, memory, bytes, "}\n");
  free(pageable);
  return 0;
}
