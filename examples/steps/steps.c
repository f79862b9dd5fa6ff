/* SPDX-License-Identifier: Apache-2.0 */
/* An ordinary CUDA program over the driver API. It knows nothing of phos: run it on a driver
 * directly, or under `phos run --`. It uses what programs use: two streams that wait for each
 * other, events, module globals, memory that comes and goes, and a result read back each step. */
#define PHOS_CUDA_SOURCE_NAMES
#include <limits.h>
#include <phos/cuda_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "sha256.h"

typedef struct {
  CUcontext context;
  CUmodule module;
  CUfunction fill, mix, follow, tally;
  CUdeviceptr total, keys; /* module globals */
  CUdeviceptr data;        /* steps_slices slices of words */
  CUdeviceptr field;       /* one slice of floats */
  CUstream work, side;
  CUevent begin, end, mixed, followed;
  uint32_t words; /* of a slice */
} machine;

static void check(CUresult result, const char *what) {
  if (result == CUDA_SUCCESS) return;
  const char *name = NULL;
  const char *text = NULL;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  fprintf(stderr, "%s: %s (%d): %s\n", what, name ? name : "?", (int)result, text ? text : "?");
  exit(1);
}

#define CHECK(call) check((call), #call)

/* The PTX text, from the file named or from the one beside the program. */
static char *read_ptx(const char *named) {
  char path[PATH_MAX];
  if (named == NULL) {
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 16);
    if (length < 0) return NULL;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    strcpy(slash == NULL ? path : slash + 1, "steps.ptx");
    named = path;
  }
  FILE *file = fopen(named, "rb");
  char *text = calloc(1, 1 << 20);
  if (file == NULL || text == NULL || fread(text, 1, (1 << 20) - 1, file) == 0) {
    fprintf(stderr, "%s: cannot be read; name the file with --ptx\n", named);
    exit(1);
  }
  fclose(file);
  return text;
}

static void launch(CUfunction function, CUstream stream, unsigned blocks, void **arguments) {
  CHECK(cuLaunchKernel(function, blocks, 1, 1, steps_block, 1, 1, 0, stream, arguments, NULL));
}

static CUdeviceptr slice(const machine *m, unsigned index) {
  return m->data + (CUdeviceptr)(index % steps_slices) * m->words * 4;
}

static void open_device(machine *m, const steps_options *options) {
  CUdevice device;
  char name[128];
  size_t bytes;
  CHECK(cuInit(0));
  CHECK(cuDeviceGet(&device, 0));
  CHECK(cuDeviceGetName(name, sizeof name, device));
  CHECK(cuDeviceTotalMem(&bytes, device));
  fprintf(stderr, "device: %s, %zu MiB\n", name, bytes >> 20);
  CHECK(cuDevicePrimaryCtxRetain(&m->context, device));
  CHECK(cuCtxSetCurrent(m->context));

  char *ptx = read_ptx(options->ptx);
  CHECK(cuModuleLoadData(&m->module, ptx));
  free(ptx);
  CHECK(cuModuleGetFunction(&m->fill, m->module, "fill"));
  CHECK(cuModuleGetFunction(&m->mix, m->module, "mix"));
  CHECK(cuModuleGetFunction(&m->follow, m->module, "follow"));
  CHECK(cuModuleGetFunction(&m->tally, m->module, "tally"));
  CHECK(cuModuleGetGlobal(&m->total, &bytes, m->module, "total"));
  CHECK(cuModuleGetGlobal(&m->keys, &bytes, m->module, "keys"));

  CHECK(cuStreamCreate(&m->work, CU_STREAM_NON_BLOCKING));
  CHECK(cuStreamCreate(&m->side, CU_STREAM_NON_BLOCKING));
  CHECK(cuEventCreate(&m->begin, CU_EVENT_DEFAULT));
  CHECK(cuEventCreate(&m->end, CU_EVENT_DEFAULT));
  CHECK(cuEventCreate(&m->mixed, CU_EVENT_DISABLE_TIMING));
  CHECK(cuEventCreate(&m->followed, CU_EVENT_DISABLE_TIMING));
}

static void make_data(machine *m, const steps_options *options) {
  m->words = steps_slice_words(options);
  unsigned long long count = (unsigned long long)m->words * steps_slices;
  unsigned seed = options->seed;
  CHECK(cuMemAlloc(&m->data, count * 4));
  CHECK(cuMemAlloc(&m->field, (size_t)m->words * 4));
  CHECK(cuMemsetD32Async(m->field, 0, m->words, m->work));
  void *arguments[] = {&m->data, &count, &seed};
  launch(m->fill, m->work, 1024, arguments);
  CHECK(cuStreamSynchronize(m->work));
  CHECK(cuEventRecord(m->begin, m->work));
}

/* Memory that lives for part of a step only: it is written, used and given back. */
static void use_scratch(const machine *m, unsigned step) {
  CUdeviceptr scratch;
  const size_t bytes = (size_t)m->words * 4;
  CHECK(cuMemAlloc(&scratch, bytes));
  CHECK(cuMemsetD32Async(scratch, step * 2654435761u, m->words, m->work));
  CHECK(cuMemcpyDtoDAsync(slice(m, step + 17), scratch, bytes / 2, m->work));
  CHECK(cuMemFree(scratch));
}

static uint64_t do_step(const machine *m, const steps_options *options, unsigned step) {
  const unsigned blocks = (m->words + steps_block - 1) / steps_block;
  CUdeviceptr in = slice(m, step);
  CUdeviceptr out = slice(m, step + 1);
  unsigned words = m->words;
  unsigned rounds = options->rounds;
  if (step % steps_keys == 0) {
    uint32_t keys[steps_keys];
    steps_make_keys(keys, options->seed, step);
    CHECK(cuMemcpyHtoD(m->keys, keys, sizeof keys));
  }
  void *mixing[] = {&out, &in, &words, &step, &rounds};
  launch(m->mix, m->work, blocks, mixing);
  CHECK(cuEventRecord(m->mixed, m->work));

  CHECK(cuStreamWaitEvent(m->side, m->mixed, 0));
  CUdeviceptr field = m->field;
  void *following[] = {&field, &out, &words};
  launch(m->follow, m->side, blocks, following);
  CHECK(cuEventRecord(m->followed, m->side));

  void *tallying[] = {&out, &words};
  launch(m->tally, m->work, blocks, tallying);
  if (step % 20 == 7) use_scratch(m, step);
  if (step % 8 == 3) CHECK(cuMemcpyDtoDAsync(slice(m, step + 31), out, words, m->work));
  CHECK(cuStreamWaitEvent(m->work, m->followed, 0));

  uint64_t total = 0;
  CHECK(cuStreamSynchronize(m->work));
  CHECK(cuMemcpyDtoH(&total, m->total, sizeof total));
  return total;
}

static void print_result(const machine *m, uint64_t total) {
  const size_t bytes = (size_t)m->words * 4;
  uint8_t *host = malloc(bytes);
  sha256 hash;
  char text[65];
  if (host == NULL) exit(1);
  sha256_start(&hash);
  sha256_add(&hash, &total, sizeof total);
  for (unsigned i = 0; i <= steps_slices; ++i) {
    CHECK(cuMemcpyDtoH(host, i < steps_slices ? slice(m, i) : m->field, bytes));
    sha256_add(&hash, host, bytes);
  }
  sha256_end(&hash, text);
  free(host);
  printf("%s\n", text);
}

static void close_device(const machine *m) {
  CHECK(cuMemFree(m->field));
  CHECK(cuMemFree(m->data));
  CHECK(cuEventDestroy(m->followed));
  CHECK(cuEventDestroy(m->mixed));
  CHECK(cuEventDestroy(m->end));
  CHECK(cuEventDestroy(m->begin));
  CHECK(cuStreamDestroy(m->side));
  CHECK(cuStreamDestroy(m->work));
  CHECK(cuModuleUnload(m->module));
  CHECK(cuDevicePrimaryCtxRelease(0));
}

int main(int argc, char **argv) {
  const double started = steps_now();
  const steps_options options = steps_parse(argc, argv);
  machine m;
  steps_clock clock;
  float device_ms = 0;
  uint64_t total = 0;
  memset(&m, 0, sizeof m);
  open_device(&m, &options);
  make_data(&m, &options);
  steps_clock_first(&clock, started);
  for (unsigned step = 0; step < options.steps; ++step) {
    total = do_step(&m, &options, step);
    steps_report(&clock, &options, step + 1, total);
  }
  CHECK(cuEventRecord(m.end, m.work));
  CHECK(cuCtxSynchronize());
  CHECK(cuEventElapsedTime(&device_ms, m.begin, m.end));
  print_result(&m, total);
  steps_summary(&clock, &options, device_ms);
  close_device(&m);
  return 0;
}
