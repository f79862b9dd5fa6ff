/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the management library (NVML) what monitors and frameworks ask, and judges the answers:
 *
 *   management             judges; prints "ok". For programs under phos
 *   management --summary   prints what must be the same with and without phos
 *
 * The library is opened by name and, under phos, by a path that does not lead to it. Counting
 * devices must not keep a child from using CUDA. */
#include <dlfcn.h>
#include <string.h>
#include <sys/wait.h>

#include "gpu.h"

typedef struct {
  unsigned long long total, free, used;
} memory_info;
typedef struct {
  unsigned gpu, memory;
} utilization;
typedef struct {
  unsigned pid;
  unsigned long long bytes;
  unsigned instances[2];
} process_info;
typedef int (*any_function)(void *, void *, void *);

static void *library;

static void fail(const char *what, long value) {
  fprintf(stderr, "management: %s: %ld\n", what, value);
  exit(1);
}

static void expect(int good, const char *what, long value) {
  if (!good) fail(what, value);
}

/* Every function asked here takes at most three words. */
static int ask(const char *name, void *a, void *b, void *c) {
  any_function function = __extension__(any_function) dlsym(library, name);
  if (function == NULL) fail(name, 13);
  return function(a, b, c);
}

static void must(const char *name, void *a, void *b, void *c) {
  const int answer = ask(name, a, b, c);
  if (answer != 0) fail(name, answer);
}

static void *word(unsigned long value) { return (void *)value; }

static void summary(void *device) {
  unsigned count = 0;
  int major = 0, minor = 0;
  char name[96] = "", uuid[96] = "";
  must("nvmlDeviceGetCount_v2", &count, NULL, NULL);
  must("nvmlDeviceGetName", device, name, word(sizeof name));
  must("nvmlDeviceGetUUID", device, uuid, word(sizeof uuid));
  must("nvmlDeviceGetCudaComputeCapability", device, &major, &minor);
  printf("%u %s %s %d.%d\n", count, name, uuid, major, minor);
}

/* The parent has counted devices; a child must be able to use CUDA all the same. */
static void use_cuda_in_child(void) {
  const pid_t child = fork();
  if (child == 0) _exit(cuInit(0) == CUDA_SUCCESS ? 0 : 1);
  int status = 0;
  expect(waitpid(child, &status, 0) == child, "waitpid", child);
  expect(status == 0, "cuInit in a child after counting devices", status);
}

static void judge(void *device) {
  enum { bytes = 32 << 20 };
  CUcontext context = NULL;
  CUdeviceptr data = 0;
  char uuid[96] = "", wanted[96] = "GPU-";
  CUuuid own;
  memory_info before, after;
  use_cuda_in_child();
  CHECK(cuInit(0));
  CHECK(cuDevicePrimaryCtxRetain(&context, 0));
  CHECK(cuCtxSetCurrent(context));
  CHECK(cuDeviceGetUuid(&own, 0));
  for (int i = 0; i < 16; ++i) {
    const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
    sprintf(wanted + strlen(wanted), "%s%02x", dash, (unsigned char)own.bytes[i]);
  }
  must("nvmlDeviceGetUUID", device, uuid, word(sizeof uuid));
  expect(strcmp(uuid, wanted) == 0, "the UUID is not the driver's", 0);
  must("nvmlDeviceGetMemoryInfo", device, &before, NULL);
  CHECK(cuMemAlloc(&data, bytes));
  must("nvmlDeviceGetMemoryInfo", device, &after, NULL);
  expect(after.total == before.total && after.total == after.free + after.used, "sum of memory", 0);
  const long more = (long)(after.used - before.used);
  expect(more >= bytes, "memory in use grows by", more);
  utilization load = {1000, 1000};
  must("nvmlDeviceGetUtilizationRates", device, &load, NULL);
  expect(load.gpu <= 100 && load.memory <= 100, "utilisation", load.gpu);
  process_info processes[4];
  unsigned count = 0;
  const char *running = "nvmlDeviceGetComputeRunningProcesses_v3";
  expect(ask(running, device, &count, NULL) == 7, "no room", count);
  count = 4;
  must(running, device, &count, processes);
  expect(count == 1 && processes[0].pid == (unsigned)getpid(), "processes", count);
  expect(processes[0].bytes >= bytes, "memory of this process", (long)processes[0].bytes);
  expect(ask("nvmlDeviceGetFanSpeed", device, &count, NULL) == 3, "the speed of a fan", 0);
}

int main(int argc, char **argv) {
  const int all = argc < 2 || strcmp(argv[1], "--summary") != 0;
  void *device = NULL;
  library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    fprintf(stderr, "management: %s\n", dlerror());
    return 1;
  }
  if (all) {
    void *other = dlopen("/nowhere/libnvidia-ml.so", RTLD_NOW | RTLD_LOCAL);
    expect(other == library, "another path leads elsewhere", 0);
  }
  must("nvmlInit_v2", NULL, NULL, NULL);
  must("nvmlDeviceGetHandleByIndex_v2", word(0), &device, NULL);
  summary(device);
  if (all) {
    judge(device);
    printf("ok\n");
  }
  must("nvmlShutdown", NULL, NULL, NULL);
  return 0;
}
