/* SPDX-License-Identifier: Apache-2.0 */
/* What the test programs over the driver API share. They use the kernels of examples/steps. */
#ifndef PHOS_TEST_SUBJECTS_GPU_H
#define PHOS_TEST_SUBJECTS_GPU_H

#define PHOS_CUDA_SOURCE_NAMES
#include <phos/cuda_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK(call) check((call), #call)

static inline void check(CUresult result, const char *what) {
  if (result == CUDA_SUCCESS) return;
  const char *name = NULL;
  cuGetErrorName(result, &name);
  fprintf(stderr, "%s: %s (%d)\n", what, name ? name : "?", (int)result);
  exit(1);
}

/* The text of a PTX file; the caller frees it. */
static inline char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  char *text = calloc(1, 1 << 20);
  if (file == NULL || text == NULL || fread(text, 1, (1 << 20) - 1, file) == 0) {
    fprintf(stderr, "%s: cannot be read\n", path);
    exit(2);
  }
  fclose(file);
  return text;
}

/* Stands until a file exists: the test decides when the program goes on. NULL: goes on at once. */
static inline void wait_at_gate(const char *path) {
  while (path != NULL && access(path, F_OK) != 0) usleep(1000);
}

static inline uint64_t fnv(uint64_t hash, const void *data, size_t bytes) {
  const unsigned char *byte = data;
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ byte[i]) * 0x100000001b3ULL;
  return hash;
}

#endif
