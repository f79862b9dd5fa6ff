/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of more than one process, each counting on the GPU: one line for each step, with a total
 * that only the device knows.
 *
 *   family PTX STEPS MICROSECONDS GATE alone
 *   family PTX STEPS MICROSECONDS GATE fork     a child that was forked after CUDA started, without
 *                                               exec, and touches nothing
 *   family PTX STEPS MICROSECONDS GATE two      a child that is a client of its own
 *
 * Before the second half of its steps each process waits for the file GATE.
 */
#include <string.h>
#include <sys/wait.h>

#include "gpu.h"

enum { words = 4096, block = 256 };

static void count(const char *name, char **argv) {
  const long steps = atol(argv[2]);
  CUdevice device;
  CUcontext context;
  CUmodule module;
  CUfunction tally;
  CUdeviceptr data, total_at;
  size_t bytes;
  CHECK(cuInit(0));
  CHECK(cuDeviceGet(&device, 0));
  CHECK(cuDevicePrimaryCtxRetain(&context, device));
  CHECK(cuCtxSetCurrent(context));
  char *ptx = read_text(argv[1]);
  CHECK(cuModuleLoadData(&module, ptx));
  CHECK(cuModuleGetFunction(&tally, module, "tally"));
  CHECK(cuModuleGetGlobal(&total_at, &bytes, module, "total"));
  CHECK(cuMemAlloc(&data, words * 4));
  if (strcmp(argv[5], "fork") == 0 && fork() == 0) {
    wait_at_gate(argv[4]);
    _exit(0);
  }
  for (long step = 0; step < steps; ++step) {
    unsigned number = words;
    uint64_t total = 0;
    void *arguments[] = {&data, &number};
    if (step == steps / 2) wait_at_gate(argv[4]);
    CHECK(cuMemsetD32(data, (unsigned)step + 1, words));
    CHECK(cuLaunchKernel(tally, words / block, 1, 1, block, 1, 1, 0, NULL, arguments, NULL));
    CHECK(cuMemcpyDtoH(&total, total_at, sizeof total));
    printf("%s %ld %llu\n", name, step, (unsigned long long)total);
    fflush(stdout);
    usleep((useconds_t)atol(argv[3]));
  }
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  const int is_child = argc > 6;
  if (!is_child && strcmp(argv[5], "two") == 0 && fork() == 0) {
    char *child[] = {argv[0], argv[1], argv[2], argv[3], argv[4], argv[5], (char *)"child", NULL};
    execv("/proc/self/exe", child);
    _exit(127);
  }
  count(is_child ? "child" : "parent", argv);
  int status = 0;
  while (wait(&status) > 0) {
    if (status != 0) return 3;
  }
  if (!is_child) printf("done\n");
  return 0;
}
