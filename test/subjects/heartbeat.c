/* SPDX-License-Identifier: Apache-2.0 */
/* A program with a heart. One thread works through device memory, buffer after buffer; another
 * launches a tiny kernel every millisecond, reads its result back, and notes how long the longest
 * pause between two beats was: what a program really feels of a checkpoint.
 *
 *   heartbeat PTX MIB STOP_FILE
 *
 * MIB of device memory in buffers of 16 MiB, written once at the start. stdout, every 50 ms:
 * "at MS gap US steps N", MS of CLOCK_MONOTONIC, US the longest pause since the last line, N the
 * buffers worked through in all. It goes on until STOP_FILE exists, then judges its memory. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "gpu.h"

enum { block = 256, buffer_bytes = 16 << 20, beat_us = 1000, line_ns = 50 * 1000 * 1000 };

static CUcontext context;
static atomic_ulong longest_ns;
static atomic_ulong steps;
static atomic_int stopped;

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

typedef struct {
  CUfunction fill;
  CUdeviceptr word;
} heart;

static void *beat(void *argument) {
  heart *h = argument;
  CUstream stream = NULL;
  uint32_t seed = 0;
  uint64_t count = 1;
  uint32_t seen = 0;
  CHECK(cuCtxSetCurrent(context));
  CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  uint64_t last = now_ns();
  while (!atomic_load(&stopped)) {
    seed += 1;
    void *parameters[] = {&h->word, &count, &seed};
    CHECK(cuLaunchKernel(h->fill, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
    CHECK(cuMemcpyDtoHAsync(&seen, h->word, sizeof seen, stream));
    CHECK(cuStreamSynchronize(stream));
    const uint64_t now = now_ns();
    uint64_t longest = atomic_load(&longest_ns);
    while (now - last > longest &&
           !atomic_compare_exchange_weak(&longest_ns, &longest, now - last)) {
    }
    last = now;
    usleep(beat_us);
  }
  return NULL;
}

static void *tell(void *argument) {
  (void)argument;
  while (!atomic_load(&stopped)) {
    const struct timespec pause = {.tv_nsec = line_ns};
    nanosleep(&pause, NULL);
    printf("at %llu gap %lu steps %lu\n", (unsigned long long)(now_ns() / 1000000U),
           atomic_exchange(&longest_ns, 0) / 1000, atomic_load(&steps));
    fflush(stdout);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: heartbeat PTX MIB STOP_FILE\n");
    return 2;
  }
  const unsigned long buffers = (strtoul(argv[2], NULL, 10) + 15) / 16;
  CUdevice device = 0;
  CUmodule module = NULL;
  heart h = {0};
  CHECK(cuInit(0));
  CHECK(cuDeviceGet(&device, 0));
  CHECK(cuDevicePrimaryCtxRetain(&context, device));
  CHECK(cuCtxSetCurrent(context));
  char *ptx = read_text(argv[1]);
  CHECK(cuModuleLoadData(&module, ptx));
  free(ptx);
  CHECK(cuModuleGetFunction(&h.fill, module, "fill"));
  CHECK(cuMemAlloc(&h.word, 4));
  CUdeviceptr *memory = calloc(buffers, sizeof *memory);
  for (unsigned long i = 0; i < buffers; ++i) {
    CHECK(cuMemAlloc(&memory[i], buffer_bytes));
    CHECK(cuMemsetD32(memory[i], (unsigned)i + 1, buffer_bytes / 4));
  }
  pthread_t beating;
  pthread_t telling;
  pthread_create(&beating, NULL, beat, &h);
  pthread_create(&telling, NULL, tell, NULL);
  /* Each round writes the same into a buffer again: work that leaves what can be judged. */
  for (unsigned long i = 0; access(argv[3], F_OK) != 0; i = (i + 1) % buffers) {
    CHECK(cuMemsetD32(memory[i], (unsigned)i + 1, buffer_bytes / 4));
    CHECK(cuCtxSynchronize());
    atomic_fetch_add(&steps, 1);
  }
  atomic_store(&stopped, 1);
  pthread_join(beating, NULL);
  pthread_join(telling, NULL);
  uint32_t ends[2];
  for (unsigned long i = 0; i < buffers; ++i) {
    CHECK(cuMemcpyDtoH(&ends[0], memory[i], 4));
    CHECK(cuMemcpyDtoH(&ends[1], memory[i] + buffer_bytes - 4, 4));
    if (ends[0] != i + 1 || ends[1] != i + 1) {
      fprintf(stderr, "buffer %lu holds %u and %u\n", i, ends[0], ends[1]);
      return 1;
    }
  }
  printf("whole\n");
  return 0;
}
