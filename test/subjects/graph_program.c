/* SPDX-License-Identifier: Apache-2.0 */
/* Captured graphs of shapes that its seed chooses: branches that fork and join by events, kernels,
 * copies between buffers and from pinned host memory, fills. Graphs are made, launched and
 * destroyed as it goes; of some only the executable remains, and streams and events of a capture go
 * when it has ended. An array takes elements of the buffers now and then. Every step prints one
 * line on stderr and, at the end, one for all memory on stdout, so that a run with a checkpoint in
 * the middle can be compared with one without.
 *
 *   graph_program PTX SEED STEPS MICROSECONDS [GATE]
 */
#include <string.h>

#include "gpu.h"

enum { max_graphs = 6, max_branches = 4, words = 4096, buffers = 6, block = 256 };

typedef struct {
  CUgraph graph; /* NULL: destroyed when it was instantiated */
  CUgraphExec exec;
} recorded;

typedef struct {
  uint64_t random;
  uint64_t readback;
  CUcontext context;
  CUmodule module;
  CUfunction fill, mix, tally;
  CUdeviceptr total;
  CUdeviceptr memory[buffers];
  CUstream stream;
  uint32_t *pinned;
  CUarray array; /* 64 words a row, 16 rows */
  recorded graphs[max_graphs];
} program;

static uint32_t draw(program *p, uint32_t below) {
  p->random = p->random * 6364136223846793005ULL + 1442695040888963407ULL;
  return (uint32_t)(p->random >> 33) % below;
}

static void launch(CUfunction f, CUstream stream, void **arguments) {
  CHECK(cuLaunchKernel(f, words / block, 1, 1, block, 1, 1, 0, stream, arguments, NULL));
}

/* One command; a branch works on a buffer of its own, so that branches may run at once. */
static void command(program *p, CUstream stream, int branch) {
  const CUdeviceptr own = p->memory[branch];
  unsigned long long count = words;
  unsigned number = draw(p, 1 << 20);
  unsigned few = words, rounds = 1 + number % 3;
  const CUdeviceptr other = p->memory[buffers - 1]; /* nobody writes it */
  void *filling[] = {(void *)&own, &count, &number};
  void *mixing[] = {(void *)&own, (void *)&other, &few, &number, &rounds};
  void *tallying[] = {(void *)&own, &few};
  switch (draw(p, 6)) {
    case 0:
      launch(p->fill, stream, filling);
      return;
    case 1:
      launch(p->mix, stream, mixing);
      return;
    case 2:
      launch(p->tally, stream, tallying);
      return;
    case 3:
      CHECK(cuMemsetD32Async(own + 64, number, words / 2, stream));
      return;
    case 4:
      CHECK(cuMemcpyDtoDAsync(own + 1024, other + 4 * (number % 512), 2048, stream));
      return;
    default:
      /* The pinned words are what they are at the launch, not at the capture. */
      CHECK(cuMemcpyHtoDAsync(own, p->pinned + branch * words, words, stream));
  }
}

static void capture(program *p, recorded *r) {
  CUstream streams[max_branches] = {p->stream};
  CUevent fork = NULL, join[max_branches] = {NULL};
  const int branches = 1 + (int)draw(p, max_branches);
  CHECK(cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
  for (int i = 1; i < branches; ++i) {
    CHECK(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
    CHECK(cuEventCreate(&join[i], CU_EVENT_DISABLE_TIMING));
  }
  CHECK(cuStreamBeginCapture(streams[0], CU_STREAM_CAPTURE_MODE_GLOBAL));
  command(p, streams[0], 0);
  CHECK(cuEventRecord(fork, streams[0]));
  for (int i = 1; i < branches; ++i) {
    CHECK(cuStreamWaitEvent(streams[i], fork, 0));
    for (uint32_t n = 1 + draw(p, 3); n > 0; --n) command(p, streams[i], i);
    CHECK(cuEventRecord(join[i], streams[i]));
  }
  for (uint32_t n = draw(p, 3); n > 0; --n) command(p, streams[0], 0);
  for (int i = 1; i < branches; ++i) CHECK(cuStreamWaitEvent(streams[0], join[i], 0));
  command(p, streams[0], 0);
  CHECK(cuStreamEndCapture(streams[0], &r->graph));
  CHECK(cuGraphInstantiateWithFlags(&r->exec, r->graph, 0));
  for (int i = 1; i < branches; ++i) {
    CHECK(cuStreamDestroy(streams[i]));
    CHECK(cuEventDestroy(join[i]));
  }
  CHECK(cuEventDestroy(fork));
  if (draw(p, 2) == 0) {
    CHECK(cuGraphDestroy(r->graph));
    r->graph = NULL;
  }
}

static void drop(recorded *r) {
  if (r->exec != NULL) CHECK(cuGraphExecDestroy(r->exec));
  if (r->graph != NULL) CHECK(cuGraphDestroy(r->graph));
  *r = (recorded){NULL, NULL};
}

static void copy_array(program *p, int out) {
  CUDA_MEMCPY2D copy = {0};
  copy.WidthInBytes = 64 * 4;
  copy.Height = 16;
  copy.srcMemoryType = out ? CU_MEMORYTYPE_ARRAY : CU_MEMORYTYPE_DEVICE;
  copy.dstMemoryType = out ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_ARRAY;
  copy.srcArray = copy.dstArray = p->array;
  copy.srcDevice = copy.dstDevice = p->memory[draw(p, max_branches)];
  copy.srcPitch = copy.dstPitch = 64 * 4;
  CHECK(cuMemcpy2D(&copy));
}

static void step(program *p) {
  if (draw(p, 4) == 0) copy_array(p, 0);
  recorded *r = &p->graphs[draw(p, max_graphs)];
  if (r->exec == NULL) {
    capture(p, r);
  } else if (draw(p, 8) == 0) {
    drop(r);
    return;
  }
  CHECK(cuStreamSynchronize(p->stream));
  for (uint32_t i = 0; i < words; ++i) p->pinned[i] = draw(p, 1 << 30);
  CHECK(cuGraphLaunch(r->exec, p->stream));
  CHECK(cuStreamSynchronize(p->stream));
}

static void open_device(program *p, const char *ptx) {
  CUdevice device;
  size_t bytes;
  CHECK(cuInit(0));
  CHECK(cuDeviceGet(&device, 0));
  CHECK(cuDevicePrimaryCtxRetain(&p->context, device));
  CHECK(cuCtxSetCurrent(p->context));
  char *text = read_text(ptx);
  CHECK(cuModuleLoadData(&p->module, text));
  CHECK(cuModuleGetFunction(&p->fill, p->module, "fill"));
  CHECK(cuModuleGetFunction(&p->mix, p->module, "mix"));
  CHECK(cuModuleGetFunction(&p->tally, p->module, "tally"));
  CHECK(cuModuleGetGlobal(&p->total, &bytes, p->module, "total"));
  CHECK(cuStreamCreate(&p->stream, CU_STREAM_NON_BLOCKING));
  CHECK(cuMemHostAlloc((void **)&p->pinned, max_branches * words * 4, 0));
  memset(p->pinned, 7, max_branches * words * 4);
  for (int i = 0; i < buffers; ++i) {
    CHECK(cuMemAlloc(&p->memory[i], words * 4));
    CHECK(cuMemsetD32(p->memory[i], (unsigned)i * 77U + 1, words));
  }
  CUDA_ARRAY_DESCRIPTOR shape = {64, 16, CU_AD_FORMAT_UNSIGNED_INT32, 1};
  CHECK(cuArrayCreate(&p->array, &shape));
  copy_array(p, 0);
  free(text);
}

static void report(program *p) {
  uint64_t hash = 0xcbf29ce484222325ULL, total = 0;
  uint32_t *host = malloc(words * 4);
  copy_array(p, 1);
  CHECK(cuCtxSynchronize());
  for (int i = 0; i < buffers; ++i) {
    CHECK(cuMemcpyDtoH(host, p->memory[i], words * 4));
    hash = fnv(hash, host, words * 4);
  }
  CHECK(cuMemcpyDtoH(&total, p->total, sizeof total));
  printf("memory %016llx total %llu\n", (unsigned long long)hash, (unsigned long long)total);
  free(host);
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  program *p = calloc(1, sizeof *p);
  p->random = strtoull(argv[2], NULL, 10) * 2 + 1;
  const long steps = atol(argv[3]);
  const useconds_t pause = (useconds_t)atol(argv[4]);
  open_device(p, argv[1]);
  for (long i = 0; i < steps; ++i) {
    step(p);
    fprintf(stderr, "step %ld\n", i + 1);
    if (pause > 0) usleep(pause);
  }
  wait_at_gate(argc > 5 ? argv[5] : NULL);
  for (int i = 0; i < max_graphs; ++i) drop(&p->graphs[i]);
  report(p);
  return 0;
}
