/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void usage(const char *program) {
  fprintf(stderr,
          "usage: %s [--steps N] [--mib N] [--rounds N] [--seed N] [--pause-ms N] [--ptx FILE]\n"
          "Mixes data on the GPU in steps, counts them on stderr, and prints the SHA-256 of the\n"
          "result on stdout. The same arguments always give the same line.\n",
          program);
  exit(2);
}

static unsigned number(const char *program, const char *text, unsigned least, unsigned most) {
  char *end = NULL;
  const unsigned long value = text == NULL ? 0 : strtoul(text, &end, 10);
  if (text == NULL || *text == '\0' || *end != '\0' || value < least || value > most) {
    usage(program);
  }
  return (unsigned)value;
}

steps_options steps_parse(int argc, char **argv) {
  steps_options options = {200, 64, 12, 1, 0, NULL};
  for (int i = 1; i < argc; i += 2) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (strcmp(argv[i], "--steps") == 0) {
      options.steps = number(argv[0], value, 1, 1000000000);
    } else if (strcmp(argv[i], "--mib") == 0) {
      options.mib = number(argv[0], value, 1, 1 << 16);
    } else if (strcmp(argv[i], "--rounds") == 0) {
      options.rounds = number(argv[0], value, 1, 1000000);
    } else if (strcmp(argv[i], "--seed") == 0) {
      options.seed = number(argv[0], value, 0, 0xffffffff);
    } else if (strcmp(argv[i], "--pause-ms") == 0) {
      options.pause_ms = number(argv[0], value, 0, 60000);
    } else if (strcmp(argv[i], "--ptx") == 0 && value != NULL) {
      options.ptx = value;
    } else {
      usage(argv[0]);
    }
  }
  return options;
}

uint32_t steps_slice_words(const steps_options *options) {
  return options->mib * ((1u << 20) / 4 / steps_slices);
}

void steps_make_keys(uint32_t keys[steps_keys], unsigned seed, unsigned step) {
  uint32_t x = seed * 2654435761u + step;
  for (int i = 0; i < steps_keys; ++i) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    keys[i] = x + (uint32_t)i;
  }
}

double steps_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void steps_clock_first(steps_clock *clock, double started) {
  memset(clock, 0, sizeof *clock);
  clock->started = started;
  clock->first = steps_now();
  clock->last = clock->first;
}

void steps_report(steps_clock *clock, const steps_options *options, unsigned step, uint64_t total) {
  fprintf(stderr, "step %u/%u total %016llx\n", step, options->steps, (unsigned long long)total);
  if (options->pause_ms > 0) {
    const struct timespec pause = {options->pause_ms / 1000,
                                   (long)(options->pause_ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
  }
  const double now = steps_now();
  if (now - clock->last > clock->longest) {
    clock->longest = now - clock->last;
    clock->longest_step = step;
  }
  clock->last = now;
}

void steps_summary(const steps_clock *clock, const steps_options *options, float device_ms) {
  const double steps = clock->last - clock->first;
  fprintf(stderr, "times: startup %.6f s, steps %.6f s, device %.3f ms\n",
          clock->first - clock->started, steps, (double)device_ms);
  fprintf(stderr, "longest: step %u of %u took %.3f ms, the average %.3f ms\n", clock->longest_step,
          options->steps, clock->longest * 1e3, steps * 1e3 / options->steps);
}
