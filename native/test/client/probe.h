// SPDX-License-Identifier: Apache-2.0
// A self-judging program over the driver API. Each scenario ends with exit code 0, or says what was
// wrong and ends with 1.
#pragma once

#define PHOS_CUDA_SOURCE_NAMES
#include <stdio.h>
#include <stdlib.h>

#include "phos/cuda_abi.h"

#define CHECK(condition)                                                               \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);          \
      exit(1);                                                                         \
    }                                                                                  \
  } while (0)
#define EXPECT(wanted, call)                                                            \
  do {                                                                                 \
    const int got_ = (int)(call);                                                      \
    if (got_ != (int)(wanted)) {                                                       \
      fprintf(stderr, "%s:%d: %s answered %d, not %s\n", __FILE__, __LINE__, #call, got_, \
              #wanted);                                                                \
      exit(1);                                                                         \
    }                                                                                  \
  } while (0)
#define OK(call) EXPECT(CUDA_SUCCESS, call)

/* Initialises and makes the primary context of device 0 current. */
void begin(void);
/* The module with the kernels of probe_kernels.c. */
CUmodule load_kernels(void);

void test_context(void);
void test_device(void);
void test_memory(void);
void test_copies(void);
void test_shapes(void);
void test_host_memory(void);
void test_streams(void);
void test_errors(void);
void test_launch(void);
void test_launch_errors(void);
void test_capture(void);
void test_host_functions(void);
void test_threads(void);
void test_fork(void);
void test_fork_before(void);
void test_lookup(void);
void test_per_thread(void);
void test_pools(void);
void test_crowd(void);
void test_wait_for_death(void);
