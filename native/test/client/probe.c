/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <string.h>

static const struct {
  const char *name;
  void (*run)(void);
} scenarios[] = {
    {"context", test_context},       {"device", test_device},
    {"memory", test_memory},         {"copies", test_copies},
    {"shapes", test_shapes},         {"host_memory", test_host_memory},
    {"streams", test_streams},       {"errors", test_errors},
    {"launch", test_launch},         {"launch_errors", test_launch_errors},
    {"capture", test_capture},       {"host_functions", test_host_functions},
    {"threads", test_threads},       {"fork", test_fork},
    {"fork_before", test_fork_before}, {"lookup", test_lookup},
    {"per_thread", test_per_thread}, {"pools", test_pools},             {"crowd", test_crowd},
    {"wait_for_death", test_wait_for_death},
};

void begin(void) {
  CUdevice device = -1;
  CUcontext context = NULL;
  OK(cuInit(0));
  OK(cuDeviceGet(&device, 0));
  OK(cuDevicePrimaryCtxRetain(&context, device));
  OK(cuCtxSetCurrent(context));
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "init") == 0) return (int)cuInit(0);
  for (size_t i = 0; argc == 2 && i < sizeof(scenarios) / sizeof(scenarios[0]); ++i) {
    if (strcmp(argv[1], scenarios[i].name) != 0) continue;
    scenarios[i].run();
    return 0;
  }
  fprintf(stderr, "usage: probe SCENARIO\n");
  return 2;
}
