/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory without a kernel: every step writes a pattern to the device, reads an older one
 * back, and judges it. What it prints depends on the number of steps only, so that a run that was
 * dumped, suspended or restored half-way must print the same as one that was not.
 *
 *   memory_steps MIB PAUSE_US STOP_FILE
 *
 * It goes on until STOP_FILE exists: the test decides when that is, so that nothing depends on how
 * fast the machine is. stdout: one line "step N" for each step, then "digest HEX". stderr: what
 * went wrong. */
#include "gpu.h"

#include <string.h>

static void fill(uint32_t *host, size_t words, uint32_t step) {
  for (size_t i = 0; i < words; ++i) host[i] = (uint32_t)i * 2654435761U ^ step;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: memory_steps MIB PAUSE_US STOP_FILE\n");
    return 2;
  }
  const size_t bytes = (size_t)strtoul(argv[1], NULL, 10) << 20;
  const useconds_t pause = (useconds_t)strtoul(argv[2], NULL, 10);
  const size_t words = bytes / sizeof(uint32_t);
  CUdevice device = 0;
  CUcontext context = NULL;
  CUdeviceptr slots[4] = {0};
  uint32_t *host = malloc(bytes);
  uint32_t *wanted = malloc(bytes);
  if (host == NULL || wanted == NULL) return 2;
  CHECK(cuInit(0));
  CHECK(cuDeviceGet(&device, 0));
  CHECK(cuDevicePrimaryCtxRetain(&context, device));
  CHECK(cuCtxSetCurrent(context));
  for (int i = 0; i < 4; ++i) {
    CHECK(cuMemAlloc(&slots[i], bytes));
    CHECK(cuMemsetD8(slots[i], 0, bytes));
  }
  uint64_t digest = 0xcbf29ce484222325ULL;
  for (uint32_t step = 1; access(argv[3], F_OK) != 0; ++step) {
    fill(host, words, step);
    CHECK(cuMemcpyHtoD(slots[step % 4], host, bytes));
    if (step > 3) {
      CHECK(cuMemcpyDtoH(host, slots[(step + 1) % 4], bytes));
      fill(wanted, words, step - 3);
      if (memcmp(host, wanted, bytes) != 0) {
        fprintf(stderr, "step %u: device memory is not what was written at step %u\n", step,
                step - 3);
        return 1;
      }
      digest = fnv(digest, host, 64);
    }
    printf("step %u\n", step);
    fflush(stdout);
    usleep(pause);
  }
  printf("digest %016llx\n", (unsigned long long)digest);
  return 0;
}
