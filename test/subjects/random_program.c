/* SPDX-License-Identifier: Apache-2.0 */
/* A program that does what its seed says: allocations, copies, kernels, memsets, frees, streams and
 * modules that come and go, in an order that nobody chose. It prints one line for each buffer and
 * one for all that it read back, and those lines depend on the arguments alone, so that a run with
 * a checkpoint in the middle can be compared with one without.
 *
 *   random_program PTX SEED OPERATIONS MICROSECONDS [GATE [reload]]
 *
 * MICROSECONDS is the pause after each operation; before its last lines it waits for the file GATE.
 * With `reload` it also unloads its module and loads it again now and then.
 * Every buffer has an event: whoever uses it next, on whatever stream, waits for it first.
 */
#include <string.h>

#include "gpu.h"

enum { max_buffers = 20, max_streams = 4, max_words = 1 << 16, block = 256 };

typedef struct {
  CUdeviceptr data;
  uint32_t words;
  CUevent used;
} buffer;

typedef struct {
  uint64_t random;
  uint64_t readback; /* hash of everything that was read back */
  CUcontext context;
  char *ptx;
  CUmodule module;
  CUfunction fill, mix, tally;
  CUdeviceptr total;
  CUstream streams[max_streams];
  buffer buffers[max_buffers];
  uint32_t *pinned; /* max_words words that the device can reach */
  CUevent pinned_used;
  uint32_t *pageable; /* the same without that */
  int reloads;
} program;

static uint32_t draw(program *p, uint32_t below) {
  p->random = p->random * 6364136223846793005ULL + 1442695040888963407ULL;
  return (uint32_t)(p->random >> 33) % below;
}

static CUstream any_stream(program *p) { return p->streams[draw(p, max_streams)]; }

/* A live buffer, or one made now if there is none at the place drawn. */
static buffer *any_buffer(program *p) {
  buffer *b = &p->buffers[draw(p, max_buffers)];
  if (b->data != 0) return b;
  b->words = 1 + draw(p, max_words);
  CHECK(cuMemAlloc(&b->data, (size_t)b->words * 4));
  CHECK(cuEventCreate(&b->used, CU_EVENT_DISABLE_TIMING));
  /* What lies in new memory is anybody's guess, so it is written at once. */
  CHECK(cuMemsetD32Async(b->data, b->words, b->words, p->streams[0]));
  CHECK(cuEventRecord(b->used, p->streams[0]));
  return b;
}

static void use(buffer *b, CUstream stream) { CHECK(cuStreamWaitEvent(stream, b->used, 0)); }
static void used(buffer *b, CUstream stream) { CHECK(cuEventRecord(b->used, stream)); }

static void launch(CUfunction f, uint32_t words, CUstream stream, void **arguments) {
  CHECK(cuLaunchKernel(f, (words + block - 1) / block, 1, 1, block, 1, 1, 0, stream, arguments,
                       NULL));
}

static void load_module(program *p) {
  size_t bytes;
  uint64_t total = 0;
  if (p->module != NULL) {
    CHECK(cuCtxSynchronize());
    CHECK(cuMemcpyDtoH(&total, p->total, sizeof total));
    CHECK(cuModuleUnload(p->module));
  }
  CHECK(cuModuleLoadData(&p->module, p->ptx));
  CHECK(cuModuleGetFunction(&p->fill, p->module, "fill"));
  CHECK(cuModuleGetFunction(&p->mix, p->module, "mix"));
  CHECK(cuModuleGetFunction(&p->tally, p->module, "tally"));
  CHECK(cuModuleGetGlobal(&p->total, &bytes, p->module, "total"));
  CHECK(cuMemcpyHtoD(p->total, &total, sizeof total));
}

static void run_fill(program *p) {
  buffer *b = any_buffer(p);
  CUstream s = any_stream(p);
  unsigned long long count = b->words;
  unsigned seed = draw(p, 1 << 30);
  void *arguments[] = {&b->data, &count, &seed};
  use(b, s);
  launch(p->fill, b->words, s, arguments);
  used(b, s);
}

static void run_mix(program *p) {
  buffer *out = any_buffer(p);
  buffer *in = any_buffer(p);
  CUstream s = any_stream(p);
  if (in == out) return;
  unsigned count = out->words < in->words ? out->words : in->words;
  unsigned step = draw(p, 1000);
  unsigned rounds = 1 + draw(p, 4);
  void *arguments[] = {&out->data, &in->data, &count, &step, &rounds};
  use(in, s);
  use(out, s);
  launch(p->mix, count, s, arguments);
  used(in, s);
  used(out, s);
}

static void run_tally(program *p) {
  buffer *b = any_buffer(p);
  CUstream s = any_stream(p);
  unsigned count = b->words;
  void *arguments[] = {&b->data, &count};
  use(b, s);
  launch(p->tally, b->words, s, arguments);
  used(b, s);
}

static void copy_between(program *p) {
  buffer *to = any_buffer(p);
  buffer *from = any_buffer(p);
  CUstream s = any_stream(p);
  if (to == from) return;
  const uint32_t words = 1 + draw(p, to->words < from->words ? to->words : from->words);
  const size_t skip = draw(p, to->words - words + 1);
  use(to, s);
  use(from, s);
  CHECK(cuMemcpyDtoDAsync(to->data + skip * 4, from->data, (size_t)words * 4, s));
  used(to, s);
  used(from, s);
}

static void set_memory(program *p) {
  buffer *b = any_buffer(p);
  CUstream s = any_stream(p);
  const size_t bytes = 1 + draw(p, b->words * 4);
  use(b, s);
  if (draw(p, 2) == 0) {
    CHECK(cuMemsetD8Async(b->data, (unsigned char)draw(p, 256), bytes, s));
  } else {
    CHECK(cuMemsetD32Async(b->data, draw(p, 1 << 30), (bytes + 3) / 4, s));
  }
  used(b, s);
}

static void copy_in(program *p) {
  buffer *b = any_buffer(p);
  CUstream s = any_stream(p);
  const int through_pinned = draw(p, 2) == 0;
  uint32_t *from = through_pinned ? p->pinned : p->pageable;
  if (through_pinned) CHECK(cuEventSynchronize(p->pinned_used));
  for (uint32_t i = 0; i < b->words; ++i) from[i] = i * 2654435761U + b->words;
  use(b, s);
  CHECK(cuMemcpyHtoDAsync(b->data, from, (size_t)b->words * 4, s));
  if (through_pinned) CHECK(cuEventRecord(p->pinned_used, s));
  used(b, s);
}

static void copy_out(program *p) {
  buffer *b = any_buffer(p);
  CUstream s = any_stream(p);
  const int through_pinned = draw(p, 2) == 0;
  uint32_t *to = through_pinned ? p->pinned : p->pageable;
  if (through_pinned) CHECK(cuEventSynchronize(p->pinned_used));
  use(b, s);
  CHECK(cuMemcpyDtoHAsync(to, b->data, (size_t)b->words * 4, s));
  CHECK(cuStreamSynchronize(s));
  p->readback = fnv(p->readback, to, (size_t)b->words * 4);
}

static void free_one(program *p) {
  buffer *b = &p->buffers[draw(p, max_buffers)];
  if (b->data == 0) return;
  CHECK(cuEventSynchronize(b->used));
  CHECK(cuEventDestroy(b->used));
  CHECK(cuMemFree(b->data));
  *b = (buffer){0};
}

static void renew_stream(program *p) {
  /* Stream 0 of the program is the legacy default stream and stays. */
  const uint32_t at = 1 + draw(p, max_streams - 1);
  CHECK(cuStreamSynchronize(p->streams[at]));
  CHECK(cuStreamDestroy(p->streams[at]));
  CHECK(cuStreamCreate(&p->streams[at],
                       draw(p, 2) == 0 ? CU_STREAM_DEFAULT : CU_STREAM_NON_BLOCKING));
}

static void do_one(program *p) {
  const uint32_t what = draw(p, 100);
  if (what < 14) run_fill(p);
  else if (what < 34) run_mix(p);
  else if (what < 46) run_tally(p);
  else if (what < 58) copy_between(p);
  else if (what < 68) set_memory(p);
  else if (what < 78) copy_in(p);
  else if (what < 86) copy_out(p);
  else if (what < 94) free_one(p);
  else if (what < 98) renew_stream(p);
  else if (p->reloads) load_module(p);
}

static void open_device(program *p, const char *ptx) {
  CUdevice device;
  CHECK(cuInit(0));
  CHECK(cuDeviceGet(&device, 0));
  CHECK(cuDevicePrimaryCtxRetain(&p->context, device));
  CHECK(cuCtxSetCurrent(p->context));
  p->ptx = read_text(ptx);
  load_module(p);
  for (int i = 1; i < max_streams; ++i) CHECK(cuStreamCreate(&p->streams[i], CU_STREAM_DEFAULT));
  CHECK(cuMemHostAlloc((void **)&p->pinned, max_words * 4, 0));
  p->pageable = malloc(max_words * 4);
  CHECK(cuEventCreate(&p->pinned_used, CU_EVENT_DISABLE_TIMING));
  CHECK(cuEventRecord(p->pinned_used, p->streams[1]));
}

static void report(program *p) {
  uint64_t total = 0;
  CHECK(cuCtxSynchronize());
  for (int i = 0; i < max_buffers; ++i) {
    const buffer *b = &p->buffers[i];
    if (b->data == 0) continue;
    CHECK(cuMemcpyDtoH(p->pageable, b->data, (size_t)b->words * 4));
    printf("buffer %d %u %016llx\n", i, b->words,
           (unsigned long long)fnv(0xcbf29ce484222325ULL, p->pageable, (size_t)b->words * 4));
  }
  CHECK(cuMemcpyDtoH(&total, p->total, sizeof total));
  printf("total %llu readback %016llx\n", (unsigned long long)total,
         (unsigned long long)p->readback);
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  program *p = calloc(1, sizeof *p);
  p->random = strtoull(argv[2], NULL, 10) * 2 + 1;
  const long operations = atol(argv[3]);
  const useconds_t pause = (useconds_t)atol(argv[4]);
  p->reloads = argc > 6;
  open_device(p, argv[1]);
  for (long i = 0; i < operations; ++i) {
    do_one(p);
    fprintf(stderr, "operation %ld\n", i + 1);
    if (pause > 0) usleep(pause);
  }
  wait_at_gate(argc > 5 ? argv[5] : NULL);
  report(p);
  return 0;
}
