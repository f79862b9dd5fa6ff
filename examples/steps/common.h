/* SPDX-License-Identifier: Apache-2.0 */
/* What the driver-API program and the runtime-API program share: the arguments, the plan of a
 * step, and how it reports. Both do the same work and print the same line. */
#ifndef PHOS_EXAMPLES_STEPS_COMMON_H
#define PHOS_EXAMPLES_STEPS_COMMON_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { steps_slices = 64, steps_block = 256, steps_keys = 16 };

typedef struct {
  unsigned steps;    /* how many steps to do */
  unsigned mib;      /* size of the data on the device */
  unsigned rounds;   /* rounds of mixing in each thread: the work of a step */
  unsigned seed;     /* what the data starts from */
  unsigned pause_ms; /* idle time after each step */
  const char *ptx;   /* file with the kernels; driver-API program only */
} steps_options;

typedef struct {
  double started; /* when the program was started, in seconds of the monotonic clock */
  double first;   /* when the first step began */
  double last;    /* when the latest step ended */
  double longest; /* longest time from the end of a step to the end of the next */
  unsigned longest_step;
} steps_clock;

/* Reads the arguments; prints the usage and ends the program with 2 when they are wrong. */
steps_options steps_parse(int argc, char **argv);

/* Words of a slice of the data; the data are steps_slices slices. */
uint32_t steps_slice_words(const steps_options *options);

/* The keys that are written to the device before this step. */
void steps_make_keys(uint32_t keys[steps_keys], unsigned seed, unsigned step);

double steps_now(void);
void steps_clock_first(steps_clock *clock, double started);

/* Says that a step is done: its number and the running total, one line on stderr. */
void steps_report(steps_clock *clock, const steps_options *options, unsigned step, uint64_t total);

/* The last lines on stderr: times. */
void steps_summary(const steps_clock *clock, const steps_options *options, float device_ms);

#ifdef __cplusplus
}
#endif
#endif
